"""A short form of `make torture`, and that its comparison notices what it is for."""

import shutil

import numpy as np
import torture

SMALL = [f"--set={change}" for change in ("EPOCHS=8", "FRACTION=0.1", "WIDTH=0.05", "BATCH_SIZE=8")]


def test_a_run_that_is_killed_three_times_leaves_the_same_store(tmp_path, capsys):
    arguments = ["--kills", "3", "--folder", str(tmp_path / "t"), "--only", "06", "--train-only", *SMALL]
    assert torture.main(arguments) == 0, capsys.readouterr().out
    assert "killed, " in capsys.readouterr().out

    one, other = tmp_path / "t" / "undisturbed", tmp_path / "t" / "killed"
    assert torture.compare(one, other) == []
    folder = next((other / "runs").glob("cnn2*"))
    with np.load(folder / "predictions.npz") as file:
        arrays = dict(file)
    arrays["clean"][0, 0] = np.nextafter(arrays["clean"][0, 0], np.float32(9))
    np.savez_compressed(folder / "predictions.npz", **arrays)
    (folder / "checkpoint").touch()
    assert torture.compare(one, other) == [
        f"only in one of the two: runs/{folder.name}/checkpoint",
        f"{folder.name}: predictions.npz differs",
    ]
    shutil.rmtree(tmp_path / "t")
