"""A predictor in threads, forks, spawned workers and long-lived servers; what its import loads."""

import os
import pickle
import threading

import numpy as np
import pytest
from onnx import helper

from exporter.serving import Predictor, PredictorError
from tests.exporter.serving.models import (
    run_python,
    tensor,
    write,
    write_add,
    write_counter,
    write_gather,
    write_layers,
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads Linux's /proc")


def test_importing_loads_neither_dyn_nor_a_compiler_nor_onnx():
    code = """
import sys
import exporter
assert set(sys.modules) & {"numpy", "onnxruntime"} == set()
import exporter.serving
exporter.Predictor
print(sorted({"dyn", "tracer", "numba", "llvmlite", "onnx", "ml_dtypes"} & set(sys.modules)))
"""
    assert run_python(code).strip() == "[]"


def test_a_pickle_is_small_and_opens_anew(tmp_path, rng):
    predictor = Predictor(write_layers(tmp_path / "m.onnx"), threads=1)
    x = rng.random((2, 7, 64), np.float32)
    (wanted,) = predictor(x)
    data = pickle.dumps(predictor)
    assert len(data) < 1000
    twin = pickle.loads(data)
    assert twin._session is None
    np.testing.assert_array_equal(twin(x)[0], wanted)


def test_a_relative_path_stays_the_same_file(tmp_path, monkeypatch):
    write_add(tmp_path / "add.onnx")
    monkeypatch.chdir(tmp_path)
    predictor = Predictor("add.onnx")
    monkeypatch.chdir("/")
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(predictor(x, x)[0], x + x)


@needs_fork
def test_forked_children_answer_and_end(tmp_path):
    # The parent has used its session, another thread holds the lock of a stateful one at the
    # moment of the fork, and the children end as ordinary interpreters do: by finalization.
    code = """
import os, sys, threading, time, warnings
import numpy as np
from exporter.serving import Predictor, PredictorError

warnings.simplefilter("ignore", DeprecationWarning)       # Python 3.12: fork beside threads
layers, counter = Predictor(sys.argv[1], threads=4), Predictor(sys.argv[2], threads=4)
x = np.ones((2, 30, 64), np.float32)
(wanted,) = layers(x)
counter([[1, 1]])
counter._lock.acquire()
for child in range(3):
    pid = os.fork()
    if pid == 0:
        if child == 0:
            assert np.array_equal(layers(x)[0], wanted)
            assert counter([[1, 1]])[0].tolist() == [[2, 2]]
        if child == 1:
            del layers, counter
        sys.exit(7)
    for _ in range(1000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.01)
    else:
        os.kill(pid, 9)
        sys.exit("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 7, status
counter._lock.release()
assert counter([[1, 1]])[0].tolist() == [[2, 2]]          # the parent's state is its own
print("ok")
"""
    layers, counter = write_layers(tmp_path / "m.onnx"), write_counter(tmp_path / "count.onnx")
    assert run_python(code, layers, counter, timeout=60).strip() == "ok"


WORKER = """
import multiprocessing, sys
import numpy as np
from exporter.serving import Predictor, PredictorError

def work(predictor, queue):
    queue.put(predictor(np.ones((1, 2), np.float32))[0].tolist())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    predictor = Predictor(sys.argv[1], threads=2)
    predictor(np.ones((1, 2), np.float32))
    queue = context.Queue()
    process = context.Process(target=work, args=(predictor, queue))
    process.start()
    print(queue.get(timeout=60))
    process.join(60)
    print(process.exitcode)
"""


def test_a_spawned_worker_gets_the_predictor_with_its_state(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    code = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    model = write_counter(tmp_path / "count.onnx")
    assert run_python(code, script, model).splitlines() == ["[[2.0, 2.0]]", "0"]


def in_threads(count, function):
    """Run `function(i)` in `count` threads at once; the first error is raised here."""
    barrier, errors = threading.Barrier(count), []

    def work(i):
        try:
            barrier.wait(10)
            function(i)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    if errors:
        raise errors[0]


def test_threads_of_a_stateless_file_get_their_own_answers(tmp_path):
    predictor = Predictor(write_add(tmp_path / "add.onnx"))
    sessions = []

    def work(i):
        for n in range(1, 50):
            x = np.full((n, 3), i, np.float32)
            np.testing.assert_array_equal(predictor(x, x)[0], x + x)
        sessions.append(predictor._session)

    in_threads(4, work)
    assert len(set(map(id, sessions))) == 1


def test_threads_of_a_stateful_file_take_turns(tmp_path):
    predictor = Predictor(write_counter(tmp_path / "count.onnx"))
    seen = []

    def work(_):
        for _ in range(100):
            seen.append(int(predictor(np.zeros((1, 2), np.float32))[0][0, 0]))

    in_threads(4, work)
    assert sorted(seen) == list(range(400))


@needs_proc
def test_memory_is_flat_over_random_shapes(tmp_path):
    path = write_layers(tmp_path / "m.onnx", layers=4)
    code = """
import os, sys
import numpy as np
from exporter.serving import Predictor, PredictorError

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

rng = np.random.default_rng(0)
predictor = Predictor(sys.argv[1])
for i in range(1, 2001):
    predictor(rng.random((rng.integers(1, 6), rng.integers(1, 120), 64), dtype=np.float32))
    if i in (200, 2000):
        print(resident())
"""
    early, late = map(int, run_python(code, path).split())
    assert late <= 1.05 * early


def test_memory_is_planned_ahead_only_where_every_size_is_known(tmp_path):
    sides = [tensor(name, [2, 3]) for name in "xy"]
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    fixed = write(tmp_path / "fixed.onnx", nodes, sides[:1], sides[1:])
    for path, planned in ((fixed, True), (write_add(tmp_path / "open.onnx"), False)):
        predictor = Predictor(path)
        predictor.open()
        assert predictor._session is not None
        assert predictor._session.get_session_options().enable_mem_pattern == planned


def test_a_call_writes_nothing_to_the_terminal(tmp_path, capfd):
    Predictor(write_counter(tmp_path / "count.onnx"))([[1, 2]])
    with pytest.raises(PredictorError):
        Predictor(write_gather(tmp_path / "gather.onnx"))([99])
    assert capfd.readouterr() == ("", "")
