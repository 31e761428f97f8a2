"""How many small changes to the code the tests would notice.

    python benchmarks/mutants.py map -o map.json [TESTS ...]
    python benchmarks/mutants.py run results analysis -m map.json -o mutants.jsonl
    python benchmarks/mutants.py again mutants.jsonl -m map.json -o later.jsonl

`map` runs the tests once and notes which lines each one reaches. `run` draws mutants of a package
of boatinfer, each one change: a comparison, a constant (plus or minus one), and/or, a condition
turned round, arithmetic, a statement left out. Each goes into a copy of the project, where the
tests that reach its line run, those of the module's name and the fastest first, until one fails.
`again` runs those that survived, after tests were added: `map` them with ``--add``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CODE = Path("infer/boatinfer")
#: What most tests import; loaded once, before a process is forked for each mutant.
PRELOADED = [
    *("numpy", "scipy.stats", "scipy.special", "sklearn.svm", "sklearn.metrics", "PIL.Image"),
    *("pyarrow.csv", "pyarrow.parquet", "pyarrow.compute", "onnxruntime", "onnx", "msgspec"),
    *("pytest", "hypothesis", "typer", "rich.progress", "joblib", "matplotlib.figure"),
    *("psutil", "jinja2", "xxhash", "sklearn.pipeline", "sklearn.preprocessing"),
]
COMPARISONS = {
    **{ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE]},
    **{ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot]},
    **{ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In]},
}
ARITHMETIC = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}


@dataclass(frozen=True)
class Mutant:
    """One change: the text between two places of a file, and what stands there instead."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str
    #: Lines by which tests are chosen.
    lines: tuple[int, ...]


class Finder:
    """Finds the mutants of a module."""

    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.found: list[Mutant] = []
        self._starts = [0]
        for line in source.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._tree = ast.parse(source)
        self._scope: list[ast.AST] = []
        self._handlers: dict[type[ast.AST], Callable[[Any], None]] = {
            **dict.fromkeys((ast.FunctionDef, ast.ClassDef), self._scoped),
            **dict.fromkeys((ast.Import, ast.Assert, ast.JoinedStr), lambda node: None),
            **dict.fromkeys((ast.If, ast.IfExp, ast.While), self._if),
            **dict.fromkeys((ast.Break, ast.Continue), self._break),
            ast.keyword: self._keyword,
            ast.AnnAssign: self._ann_assign,
            ast.Assign: self._assign,
            ast.Expr: self._expr,
            ast.AugAssign: self._aug_assign,
            ast.Raise: self._raise,
            ast.Return: self._return,
            ast.Compare: self._compare,
            ast.BoolOp: self._bool_op,
            ast.UnaryOp: self._unary_op,
            ast.BinOp: self._bin_op,
            ast.Constant: self._constant,
        }
        self._visit(self._tree)

    def _visit(self, node: ast.AST) -> None:
        self._handlers.get(type(node), self._children)(node)

    def _children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            self._visit(child)

    def _add(self, node: Any, after: str) -> None:
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        before = self.source.encode()[start:end].decode()
        self.found.append(
            Mutant(self.file, node.lineno, start, end, before, after, self._lines(node))
        )

    def _lines(self, node: Any) -> tuple[int, ...]:
        """The lines of a statement in a function, or those that use what is set at import."""
        if self._scope and isinstance(self._scope[-1], ast.FunctionDef):
            function = self._scope[-1]
            if node.lineno >= function.body[0].lineno:
                return tuple(range(node.lineno, node.end_lineno + 1))
            body = function.body[0].lineno, function.end_lineno or 0
            return tuple(range(body[0], body[1] + 1))
        if self._scope:
            owner: Any = self._scope[-1]
            return tuple(range(owner.lineno, owner.end_lineno + 1))
        names = {
            target.id
            for statement in self._tree.body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            and statement.lineno <= node.lineno <= (statement.end_lineno or 0)
            for target in ast.walk(statement)
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
        }
        users = {
            use.lineno
            for use in ast.walk(self._tree)
            if isinstance(use, ast.Name) and use.id in names and isinstance(use.ctx, ast.Load)
        }
        return tuple(sorted(users))

    def _expression(self, node: ast.expr, **changes: Any) -> None:
        changed = copy.copy(node)
        for name, value in changes.items():
            setattr(changed, name, value)
        self._add(node, f"({ast.unparse(changed)})")

    def _scoped(self, node: Any) -> None:
        self._scope.append(node)
        if isinstance(node, ast.FunctionDef):
            for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
                self._visit(default)
        for statement in node.body:
            self._visit(statement)
        self._scope.pop()

    def _ann_assign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self._visit(node.value)

    def _assign(self, node: ast.Assign) -> None:
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"):
            self._children(node)

    def _keyword(self, node: ast.keyword) -> None:
        if node.arg not in {"strict", "exist_ok", "parents"}:
            self._visit(node.value)

    def _expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            if isinstance(node.value, ast.Call):
                self._add(node, "pass")
            self._children(node)

    def _aug_assign(self, node: ast.AugAssign) -> None:
        self._add(node, "pass")
        self._visit(node.value)

    def _raise(self, node: ast.Raise) -> None:
        self._add(node, "pass")

    def _return(self, node: ast.Return) -> None:
        if node.value and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._add(node, "return None")
            self._visit(node.value)

    def _break(self, node: ast.Break) -> None:
        self._add(node, "pass")

    def _if(self, node: Any) -> None:
        if not isinstance(node.test, ast.Name) or node.test.id != "TYPE_CHECKING":
            if not isinstance(node.test, ast.Compare):  # else the comparison is turned round
                self._add(node.test, f"(not ({ast.unparse(node.test)}))")
            self._children(node)

    def _compare(self, node: ast.Compare) -> None:
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                changed = [*node.ops]
                changed[place] = other()
                self._expression(node, ops=changed)
        self._children(node)

    def _bool_op(self, node: ast.BoolOp) -> None:
        self._expression(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        self._children(node)

    def _unary_op(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._add(node, f"({ast.unparse(node.operand)})")
        self._children(node)

    def _bin_op(self, node: ast.BinOp) -> None:
        if other := ARITHMETIC.get(type(node.op)):
            self._expression(node, op=other())
        self._children(node)

    def _constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self._add(node, f"({node.value + 1!r})")
            self._add(node, f"({node.value - 1!r})")


def mutants(package: str, sample: int, seed: int, without: Collection[str]) -> list[Mutant]:
    """Draws mutants of a package."""
    found = []
    for file in sorted((ROOT / CODE / package).rglob("*.py")):
        if not any(part in without for part in file.relative_to(ROOT).parts):
            found += Finder(str(file.relative_to(ROOT)), file.read_text()).found
    print(f"{package}: {len(found)} mutants", file=sys.stderr)
    return random.Random(seed).sample(found, min(sample, len(found)))


def make_map(options: argparse.Namespace) -> None:
    """Runs tests, and notes which lines each reaches and how long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        data, times, settings = (Path(folder, name) for name in ("data", "times.xml", "settings"))
        settings.write_text("[run]\nsource_pkgs = boatinfer\ncore = ctrace\n")
        command = [sys.executable, "-m", "pytest", "-q", *options.tests, "-n", str(options.workers)]
        command += ["--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report="]
        environment = os.environ | {"COVERAGE_FILE": str(data)}
        subprocess.run(
            [*command, f"--junitxml={times}"], cwd=ROOT, env=environment, check=not options.add
        )
        write_map(data, times, options)


def write_map(data: Path, times: Path, options: argparse.Namespace) -> None:
    """Puts what coverage and pytest wrote into one file."""
    from coverage import CoverageData

    lines: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    seconds: dict[str, float] = {}
    if options.add:
        old = json.loads(options.add.read_text())
        seconds |= old["seconds"]
        for file, of in old["lines"].items():
            for line, tests in of.items():
                lines[file][line] |= set(tests)
    for case in ET.parse(times).getroot().iter("testcase"):
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        if case.find("failure") is None and case.find("error") is None:
            seconds[test] = float(case.get("time", 0))
    found = CoverageData(str(data))
    found.read()
    for path in found.measured_files():
        file = str(CODE / path.rpartition("/boatinfer/")[2])
        for line, contexts in found.contexts_by_lineno(path).items():
            tests = {context.rpartition("|")[0] for context in contexts}
            lines[file][str(line)] |= tests & seconds.keys()
    document = {
        "seconds": seconds,
        "lines": {f: {n: sorted(t) for n, t in of.items() if t} for f, of in lines.items()},
    }
    options.out.write_text(json.dumps(document))


class Tests:
    """Which tests notice a change to a line."""

    def __init__(self, file: Path) -> None:
        document = json.loads(file.read_text())
        self._seconds, self._lines = document["seconds"], document["lines"]

    def reaching(self, mutant: Mutant, budget: float) -> list[str]:
        """Those of the module's name, then the fastest, for so many seconds in all."""
        of = self._lines.get(mutant.file, {})
        found = set().union(*(of.get(str(line), ()) for line in mutant.lines))
        found = found or set().union(*of.values())
        stem = Path(mutant.file).stem.removeprefix("_")
        order = sorted(found, key=lambda t: (stem not in t.split("::")[0], self._seconds[t]))
        chosen, total = [], 0.0
        for test in order:
            total += self._seconds[test]
            if total > budget and len(chosen) >= 5:
                break
            chosen.append(test)
        return chosen


def copied(folder: Path) -> Path:
    """A copy of the project, with its bytecode."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def test_in(tree: Path, tests: list[str], log: Path) -> None:
    """Runs tests in a process that was forked; never returns."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(output, number)
    paths = [str(tree / name) for name in ("infer", "train", "export")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.path[:0] = paths
    os.chdir(tree)
    code = 99
    try:
        import pytest

        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
        code = pytest.main(["-x", "-q", "--tb=line", *quiet, *tests])
    except BaseException:
        traceback.print_exc()
    finally:  # nothing of the process that it was forked from may run
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Running:
    """A mutant that is being tested."""

    mutant: Mutant
    tests: list[str]
    process: int
    until: float
    original: bytes
    times: tuple[int, int]


class Slot:
    """A copy of the project in which one mutant at a time is tested."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.log = copied(folder / "tree"), folder / "log"
        self.running: Running | None = None

    def start(self, mutant: Mutant, tests: list[str], limit: float) -> None:
        """Begins the tests of a mutant."""
        path = self.tree / mutant.file
        status, original = path.stat(), path.read_bytes()
        assert original[mutant.start : mutant.end].decode() == mutant.before, mutant
        changed = original[: mutant.start] + mutant.after.encode() + original[mutant.end :]
        path.write_bytes(changed)
        process = os.fork()
        if not process:
            test_in(self.tree, tests, self.log)
        times = status.st_atime_ns, status.st_mtime_ns
        until = time.monotonic() + limit
        self.running = Running(mutant, tests, process, until, original, times)

    def ended(self) -> dict[str, Any] | None:
        """What became of the mutant; None while its tests run."""
        running = self.running
        if running is None:
            return None
        done, status = os.waitpid(running.process, os.WNOHANG)
        late = not done and time.monotonic() > running.until
        if not done and not late:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process, signal.SIGKILL)  # what the tests have left
        if late:
            os.waitpid(running.process, 0)
        path = self.tree / running.mutant.file
        path.write_bytes(running.original)
        os.utime(path, ns=running.times)
        self.running = None
        said = self.log.read_text(errors="replace")
        code = os.waitstatus_to_exitcode(status) if done else None
        became = "survived" if code == 0 else "killed"
        if not running.tests:
            became = "survived"
        elif code in {5, 99} or (code == 4 and "not found:" in said):
            became = "error"
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return {
            **asdict(running.mutant),
            "became": "killed" if late else became,
            "by": "time" if late else (failed[0] if failed else code),
            "tests": len(running.tests),
        }


def run(drawn: list[Mutant], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tests mutants, some at a time; those that a file has already are left out."""
    before = options.out.read_text().splitlines() if options.out.exists() else []
    results = [json.loads(line) for line in before]
    known = {(of["file"], of["start"], of["end"], of["after"]) for of in results}
    due = [m for m in drawn if (m.file, m.start, m.end, m.after) not in known]
    tests = Tests(options.map)
    for name in PRELOADED:
        __import__(name)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        slots = [Slot(Path(folder, str(number))) for number in range(options.workers)]
        with options.out.open("a") as out:
            queue = iter(due)
            while True:
                for slot in slots:
                    if (result := slot.ended()) is not None:
                        results.append(result)
                        print(json.dumps(result), file=out, flush=True)
                    if slot.running is None and (mutant := next(queue, None)) is not None:
                        chosen = tests.reaching(mutant, options.budget)
                        slot.start(mutant, chosen, options.limit)
                if not any(slot.running for slot in slots):
                    break
                time.sleep(0.05)
        return sound(results, slots[0])


def sound(results: list[dict[str, Any]], slot: Slot) -> list[dict[str, Any]]:
    """Runs what noticed mutants without one: a test that fails then has noticed nothing."""
    noticed = {str(result["by"]) for result in results if "::" in str(result["by"])}
    names = sorted({by.split(" - ")[0].split(" ", 1)[1] for by in noticed})
    if not (process := os.fork()):
        test_in(slot.tree, ["--maxfail=999", *names], slot.log)
    os.waitpid(process, 0)
    failed = [line for line in slot.log.read_text(errors="replace").splitlines()
              if line.startswith(("FAILED", "ERROR"))]  # fmt: skip
    wrong = {line.split(" - ")[0] for line in failed}
    for result in results:
        if str(result["by"]).split(" - ")[0] in wrong:
            result["became"] = "error"
    return results


def package_of(file: str) -> str:
    """The package of boatinfer that a file is in."""
    return Path(file).relative_to(CODE).parts[0]


def told(results: list[dict[str, Any]]) -> Iterator[str]:
    """What became of the mutants, by package, and those that survived."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        counts[package_of(result["file"])][result["became"]] += 1
    for package, of in sorted(counts.items()):
        share = of["survived"] / of.total()
        yield f"{package}: {of.total()} mutants, {dict(of)}, {share:.1%} survived"
    for result in sorted(results, key=lambda of: (of["file"], of["line"])):
        if result["became"] != "killed":
            yield "{file}:{line}: {before} -> {after} ({became}, {tests} tests)".format(**result)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    mapping = commands.add_parser("map")
    mapping.add_argument("tests", nargs="*", default=["tests/infer"])
    mapping.add_argument("--add", type=Path, help="an older map, to which this is added")
    running = commands.add_parser("run")
    running.add_argument("packages", nargs="+")
    running.add_argument("--sample", type=int, default=70, help="mutants of each package")
    running.add_argument("--seed", type=int, default=14)
    running.add_argument("--without", nargs="*", default=["ray"], help="folders to leave out")
    again = commands.add_parser("again")
    again.add_argument("results", type=Path)
    for command in (mapping, running, again):
        command.add_argument("-o", "--out", type=Path, required=True)
        command.add_argument("--workers", type=int, default=2)
    for command in (running, again):
        command.add_argument("-m", "--map", type=Path, required=True)
        command.add_argument("--budget", type=float, default=20, help="seconds of tests each")
        command.add_argument("--limit", type=float, default=120, help="seconds, then it is killed")
    options = parser.parse_args()
    if options.command == "map":
        make_map(options)
        return
    if options.command == "run":
        of = options.sample, options.seed, options.without
        drawn = [mutant for package in options.packages for mutant in mutants(package, *of)]
        random.Random(options.seed).shuffle(drawn)  # so that some of each are done early
    else:
        lines = options.results.read_text().splitlines()
        fields = Mutant.__dataclass_fields__
        earlier = [json.loads(line) for line in lines]
        drawn = [
            Mutant(**{name: of[name] for name in fields})
            for of in earlier
            if of["became"] != "killed"
        ]
    for line in told(run(drawn, options)):
        print(line)


if __name__ == "__main__":
    main()
