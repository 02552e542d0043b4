"""A short form of `make torture`, and that its comparison notices what it is for."""

import numpy as np
import pytest
import torture

pytestmark = pytest.mark.slow

SMALL = [f"--set={change}" for change in ("EPOCHS=3", "FRACTION=0.1", "WIDTH=0.05", "BATCH_SIZE=32")]


def test_a_run_that_is_killed_leaves_the_store_of_an_undisturbed_one(tmp_path, capsys):
    arguments = ["--kills", "2", "--folder", str(tmp_path), "--only", "06", "--train-only", *SMALL]
    assert torture.main(arguments) == 0, capsys.readouterr().out
    assert "2: killed " in capsys.readouterr().out

    one, other = tmp_path / "undisturbed", tmp_path / "killed"
    assert torture.compare(one, other) == []
    folder = next((other / "runs").glob("cnn2*"))
    with np.load(folder / "predictions.npz") as file:
        arrays = dict(file)
    arrays["clean"][0, 0] = np.nextafter(arrays["clean"][0, 0], np.float16(9))
    np.savez_compressed(folder / "predictions.npz", **arrays)
    (folder / "checkpoint").touch()
    assert torture.compare(one, other) == [
        f"only in one of the two: runs/{folder.name}/checkpoint",
        f"{folder.name}: predictions.npz differs",
    ]
