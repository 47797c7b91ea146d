"""Run folders: file names, writing, locking, manifest, listing. Never trains, predicts or scores."""
