"""Nothing that is read can run code: by the sources of the project themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The one reader of pickles: its find_class knows tensors alone (tests/test_efficientnet_lite.py).
READER, ITS_CALLS = "efficientnet_lite.py", {"_Unpickler", "unpickler.load", "pickle.UnpicklingError"}
SOURCES = [*ROOT.glob("ferhelpers/*.py"), ROOT / "run_all.py"]


def calls(path):
    """Every call in a file: (its name with dots, its keyword arguments as source)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled_evaluated_or_loaded_unsafely(path):
    needed = {"np.load": ("allow_pickle", "False"), "keras.saving.load_model": ("safe_mode", "True")}
    allowed = ITS_CALLS if path.name == READER else set()
    for name, words in calls(path):
        assert name not in ("eval", "exec", "yaml.load", "os.system"), name
        assert "pickle" not in name or name in allowed, name
        if name in needed:
            word, value = needed[name]
            assert words.get(word) == value, f"{name} without {word}={value}"
    imported = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        for alias in getattr(node, "names", [])
        if hasattr(alias, "name")
    ]
    assert {"pickle", "dill", "joblib", "shelve", "marshal"} & set(imported) == ({"pickle"} if allowed else set())
