"""Parts shared by runners, controllers and learners: batches, buffers, action spaces, schedules."""
