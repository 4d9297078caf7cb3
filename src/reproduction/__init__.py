"""Studies: results of the paper and beyond, each as data (`config/studies/*.yaml`) and one renderer."""
