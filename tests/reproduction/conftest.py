"""The configuration folder of tests of studies."""

import pytest
import yaml

from study_helpers import SRC, STUDY
from utils import configfile


@pytest.fixture
def config_dir(tmp_path, monkeypatch):
    """A copy of the configuration folder with the small study."""
    folder = tmp_path / "config"
    folder.mkdir()
    for name in ("algs", "envs", "default.yaml"):
        (folder / name).symlink_to(SRC / "config" / name)
    (folder / "studies").mkdir()
    (folder / "studies" / "small.yaml").write_text("# A small study\n" + yaml.safe_dump(STUDY, sort_keys=False))
    monkeypatch.setattr(configfile, "CONFIG_DIR", folder)
    return folder
