"""The form of the notebooks: short cells, no definitions, no outputs in git, numbers from the run, not in prose."""

import ast
import copy
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

import run_all
from ferhelpers import experiments, pages, parameters

FIXTURES = Path(__file__).parent / "fixtures"
NOTEBOOKS = sorted((run_all.ROOT / "notebooks").glob("*.ipynb"))
EVERYWHERE = {"DATA", "OUTPUT", "FRACTION", "SEED"}
TRAINING = EVERYWHERE | {"RESULTS", "SEEDS", "EPOCHS", "WIDTH", "LEARNING_RATE", "BATCH_SIZE", "PRECISION"}
LONG = 10  # lines of a code cell; a few may have more
MEASURED = re.compile(r"(?<![\w.])\d?\.(?!000)\d{3,}\b|\b\d+\.\d+ ?%|\b(?:loss|accuracy)[:= ]+\d", re.IGNORECASE)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def prose(book):
    return "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def tree(book):
    """The syntax tree of all code, magics translated."""
    return ast.parse("\n".join(TransformerManager().transform_cell(cell.source) for cell in code(book)))


def is_valid(book):
    return not list(nbformat.validator.iter_validate(book))


def has_no_outputs(book):
    return not any(cell.outputs or cell.execution_count for cell in code(book))


def has_no_pasted_outputs(book):
    return "data:image" not in prose(book) and not any("attachments" in cell for cell in book.cells)


def states_no_measured_number(book):
    return not MEASURED.search(prose(book))


def defines_nothing(book):
    named_lambda = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
    return not any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        or (isinstance(node, named_lambda) and isinstance(node.value, ast.Lambda))
        for node in ast.walk(tree(book))
    )


def names_the_python3_kernel(book):
    return book.metadata.kernelspec.name == "python3"


def has_short_cells(book):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code(book)]
    parameter_cells = sum("parameters" in cell.metadata.get("tags", []) for cell in code(book))
    return sum(length >= LONG for length in lengths) - parameter_cells <= 0.15 * len(lengths) and max(lengths) <= 20


def begins_with_its_only_h1(book):
    headings = re.findall(r"^# .+$", prose(book), re.MULTILINE)
    return len(headings) == 1 and book.cells[0].source.strip() == headings[0]


def asks_its_question_next(book):
    return book.cells[1].cell_type == "markdown" and re.match(r"\*\*[^*]+\?\*\*\n", book.cells[1].source)


def installs_itself_on_colab_first(book):
    return pages.INSTALLER.match(code(book)[0].source) and all(
        words in code(book)[0].source for words in ('if "google.colab" in sys.modules:', "colab.py")
    )


def has_one_parameters_cell(book):
    return sum("parameters" in cell.metadata.get("tags", []) for cell in code(book)) == 1


def begins_and_ends_its_study(book):
    return (
        any("notebook.begin(" in cell.source for cell in code(book)) and code(book)[-1].source.strip() == "study.end()"
    )


def uses_no_formula_that_needs_mathjax(book):
    return not re.search(r"\$[^$\n]+\$", prose(book))


def has_little_prose_between_code(book):
    """At most 120 words between two code cells; tables and links count for what a reader reads of them."""
    texts = [cell.source if cell.cell_type == "markdown" else "\0" for cell in book.cells[2:]]  # code ends a text
    between = "\n".join(texts).split("\0")
    return all(len(re.sub(r"\(http[^)]*\)|[|*`#-]", " ", text).split()) <= 120 for text in between)


RULES = {  # each with what makes it fail, done to the notebook that keeps them all
    is_valid: lambda book: code(book)[0].pop("outputs"),
    has_no_outputs: lambda book: code(book)[0].update(execution_count=1),
    has_no_pasted_outputs: lambda book: book.cells[1].update(source="![](data:image/png;base64,AAAA)"),
    states_no_measured_number: lambda book: book.cells[3].update(source="It reaches an accuracy of .687 here."),
    defines_nothing: lambda book: code(book)[1].update(source="square = lambda x: x * x"),
    names_the_python3_kernel: lambda book: book.metadata.kernelspec.update(name="venv"),
    has_short_cells: lambda book: code(book)[1].update(source="x = 1\n" * 21),
    begins_with_its_only_h1: lambda book: book.cells[3].update(source="# Another title"),
    asks_its_question_next: lambda book: book.cells[1].update(source="What is this?"),
    installs_itself_on_colab_first: lambda book: book.cells.pop(2),
    has_one_parameters_cell: lambda book: [cell.metadata.clear() for cell in code(book)],
    begins_and_ends_its_study: lambda book: book.cells.pop(),
    has_little_prose_between_code: lambda book: book.cells[3].update(source="word " * 121),
    uses_no_formula_that_needs_mathjax: lambda book: book.cells[3].update(source="So $x^2$ it is."),
}


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", [*NOTEBOOKS, FIXTURES / "fine.ipynb"], ids=lambda path: path.stem)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_form(path, rule):
    assert rule(read(path)), f"{path.name}: {rule.__name__} does not hold"


def test_the_list_on_disk_is_the_list_in_run_all():
    assert tuple(path.stem for path in NOTEBOOKS) == run_all.NOTEBOOKS
    assert set(experiments.STUDY) <= set(run_all.NOTEBOOKS)


def test_all_notebooks_install_themselves_alike():
    assert len({code(read(path))[0].source for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_the_shared_ones_with_the_values_of_the_short_schedule(path):
    declared = parameters.declared(path)
    if "DATA" in declared:
        assert declared.keys() >= (TRAINING if path.stem in experiments.REPORTED else EVERYWHERE)
        assert declared["DATA"].default == "auto"
    assert ("DATA" in declared) == (path.stem != "10_your_photo")
    (cell,) = (cell for cell in code(read(path)) if "parameters" in cell.metadata.get("tags", []))
    assert all("  # " in line for line in cell.source.splitlines()), "a parameter lacks its explanation"
    for name, parameter in declared.items():
        if name in parameters.SHARED:
            assert parameter.type is parameters.SHARED[name][0]
            parameters.convert(parameter, parameter.default, path.name)
    defaults, short = {name: declared[name].default for name in declared}, parameters.read_profile("fast")
    assert defaults == {**defaults, **{name: value for name, value in short.items() if name in declared}}
    assert f'notebook.begin("{path.stem}", globals())' in "".join(cell.source for cell in code(read(path)))


@pytest.mark.parametrize("profile", parameters.PROFILES)
def test_profiles_change_parameters_of_the_training_notebooks(profile):
    declared = {name for path in NOTEBOOKS for name in parameters.declared(path)}
    assert parameters.read_profile(profile).keys() <= declared


def test_titles_and_questions_are_there_for_the_index_page():
    for path in NOTEBOOKS:
        title, question = pages.title_and_question(path)
        assert title != path.stem and question.endswith("?") and len(question) <= 160, path.name


def test_figures_and_tables_have_one_name_in_the_whole_series():
    """Calls with a literal name; a name made in a loop (an f-string) must carry its notebook's topic itself."""
    names = []
    for path in NOTEBOOKS:
        for node in ast.walk(tree(read(path))):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if call in ("study.figure", "study.table") and isinstance(node.args[1], ast.Constant):
                names.append((call, node.args[1].value))
    assert len(names) > 50 and [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_notices_its_breach(rule):
    book = copy.deepcopy(read(FIXTURES / "fine.ipynb"))
    RULES[rule](book)
    assert not rule(book)
