"""Saving and loading: round trips, files of other frameworks, damaged and hostile files."""

import copyreg
import io
import json
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import dyn
from dyn import nn
from dyn.serialization import unpickle


def same(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dyn.Tensor):
        return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and (a == b or a != a)


CHECKPOINT = {
    "epoch": 3,
    "loss": 0.1,
    "nan": float("nan"),
    "inf": -float("inf"),
    "name": "Grüße",
    "none": None,
    "flag": True,
    "big": 2**70,
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "nested": [1, (2.5, "x"), {"a": {}}],
    "keys": {0: "int", None: "none", (1, 2): "tuple", 1.5: "float"},
    "array": np.arange(3, dtype=np.uint64),
    "number": np.float32(2.5),
    "dtype": dyn.float16,
}


def test_nested_checkpoints_come_back_as_they_were(tmp_path):
    dyn.save(CHECKPOINT, tmp_path / "c")
    assert same(dyn.load(tmp_path / "c"), CHECKPOINT)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64", "uint8", "bool"]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_tensors_of_every_kind(tmp_path, dtype, shape):
    tensor = dyn.to_tensor(np.ones(shape), dtype=dtype)
    dyn.save({"t": tensor, "u": tensor}, tmp_path / "t")
    assert same(dyn.load(tmp_path / "t"), {"t": tensor, "u": tensor})


def test_any_layout_is_saved_in_logical_order(tmp_path):
    conv = nn.Conv2D(2, 3, 3)
    dyn.save(conv.state_dict(), tmp_path / "c.pdparams")
    found = load_file(tmp_path / "c.pdparams")
    assert np.array_equal(found["weight"], conv.weight.numpy())
    assert found["weight"].shape == (3, 2, 3, 3)


def test_a_state_dict_keeps_its_order_and_needs_no_description(tmp_path):
    state = {
        "b": dyn.to_tensor([1, 2], dtype="int8"),
        "a": dyn.ones([3]),
        "c": dyn.to_tensor([True]),
        "z": dyn.zeros([2], dtype="float64"),
    }
    dyn.save(state, tmp_path / "s")
    assert same(dyn.load(tmp_path / "s"), state)
    assert np.array_equal(load_file(tmp_path / "s")["z"], np.zeros(2))
    assert os.path.getsize(tmp_path / "s") < 400


def test_what_is_shared_is_stored_once(tmp_path):
    tensor = dyn.ones([1000])
    dyn.save({"a": tensor, "b": tensor}, tmp_path / "s")
    assert os.path.getsize(tmp_path / "s") < 6000
    back = dyn.load(tmp_path / "s")
    assert same(back, {"a": tensor, "b": tensor})


def test_names_that_collide_are_kept_apart(tmp_path):
    value = {1: dyn.ones([1]), "1": dyn.zeros([1]), "a/b": dyn.ones([1]), "a": {"b": dyn.ones([2])}}
    dyn.save(value, tmp_path / "n")
    assert same(dyn.load(tmp_path / "n"), value)


def test_a_single_tensor(tmp_path):
    dyn.save(dyn.arange(3), tmp_path / "t")
    assert dyn.load(tmp_path / "t").tolist() == [0, 1, 2]


def test_a_tensor_without_a_value(tmp_path):
    dyn.save({"t": dyn.Tensor()}, tmp_path / "t")
    assert dyn.load(tmp_path / "t")["t"]._array is None


def test_files_of_other_programs(tmp_path):
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "odd": np.zeros(3, np.int8)}
    save_file(arrays, tmp_path / "x.safetensors")
    back = dyn.load(tmp_path / "x.safetensors")
    assert sorted(back) == ["odd", "w"] and np.array_equal(back["w"].numpy(), arrays["w"])


def test_open_files_take_the_place_of_names(tmp_path):
    state, buffer = {"w": dyn.arange(6), "n": [3, "x"]}, io.BytesIO()
    dyn.save(state, buffer)
    with open(tmp_path / "f", "wb") as file:
        file.write(b"before")
        dyn.save(state, file)
    buffer.seek(0)
    assert same(dyn.load(buffer), state)
    with open(tmp_path / "f", "rb") as file:
        file.seek(len(b"before"))
        assert dyn.load(file)["w"].tolist() == list(range(6))
    with pytest.raises(dyn.StateError):
        dyn.load(io.BytesIO(b"nothing"))


def test_an_empty_dict_is_saved_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="^The input state dict is empty, no need to save.$"):
        dyn.save({}, tmp_path / "e.pdparams")
    assert dyn.load(tmp_path / "e.pdparams") == {}


def test_only_data_is_saved(tmp_path):
    with pytest.raises(dyn.StateError, match=r"a Linear at 'model' cannot be saved.*state_dict"):
        dyn.save({"model": nn.Linear(1, 1)}, tmp_path / "m")
    with pytest.raises(dyn.StateError, match="dictionary with the key"):
        dyn.save({object(): 1}, tmp_path / "m")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(dyn.StateError, match="not a regular file"):
        dyn.save({"w": dyn.ones([2])}, pipe)
    assert pipe.is_fifo()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    dyn.save({"a": dyn.ones([2])}, path)

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        dyn.save({"a": dyn.zeros([2])}, path)
    assert dyn.load(path)["a"].tolist() == [1.0, 1.0] and os.listdir(tmp_path) == ["a"]


def test_folders_are_made_and_places_checked(tmp_path):
    dyn.save({"a": dyn.ones([1])}, tmp_path / "new" / "a")
    assert dyn.load(tmp_path / "new" / "a", map_location="cpu")["a"].item() == 1.0
    for wrong in ("cuda:0", {"cuda:0": "cuda:1"}):
        with pytest.raises(ValueError, match="CPU"):
            dyn.load(tmp_path / "new" / "a", map_location=wrong)
    for right in (dyn.CPUPlace(), {"cuda:0": "cpu"}, lambda storage, place: storage):
        assert dyn.load(tmp_path / "new" / "a", map_location=right)["a"].item() == 1.0
    with pytest.raises(FileNotFoundError):
        dyn.load(tmp_path / "none")


def header(entries, data=b"", metadata=None):
    if metadata is not None:
        entries = {"__metadata__": metadata, **entries}
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


DAMAGED = {
    "long header": b"\xff" * 7 + b"\x00{",
    "not json": (20).to_bytes(8, "little") + b"{" * 20,
    "not a dictionary": (4).to_bytes(8, "little") + b"{}  "[:1] + b"   ",
    "incomplete": header({"a": {"dtype": "F32"}}),
    "unknown dtype": header({"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 1]}}),
    "beyond the end": header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"12"),
    "wrong size": header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
    "negative": header({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [1, 0]}}, b"1234"),
    "no integers": header({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, b"1"),
    "bad structure": header({}, b"", {"dyn": "{]"}),
    "missing array": header({}, b"", {"dyn": '{"tensor":"x"}'}),
    "unknown node": header({}, b"", {"dyn": '{"call":"x"}'}),
    "nested too deeply": header({}, b"", {"dyn": "[" * 100_000}),
    "nothing known": b"some text that is no file of ours",
    "empty": b"",
    "cut zip": b"PK\x03\x04 cut",
    "cut pickle": b"\x80\x04",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / "f").write_bytes(DAMAGED[name])
    with pytest.raises(dyn.StateError):
        dyn.load(tmp_path / "f")


def test_a_header_whose_length_looks_like_a_pickle(tmp_path):
    text = json.dumps({}).encode().ljust(0x0280)
    (tmp_path / "f").write_bytes(len(text).to_bytes(8, "little") + text)
    assert dyn.load(tmp_path / "f") == {}


# ---- Paddle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pdparams(tmp_path, protocol):
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    state = {
        "fc.weight": w,
        "fc.bias": np.asfortranarray(w),
        "step": np.float64(2.0),
        "empty": np.zeros([0, 2]),
        "half": np.array([1.5, -2.0], dyn.bfloat16.numpy).view(np.uint16),
        "StructuredToParameterName@@": {"fc.weight": "linear_0.w_0"},
    }
    (tmp_path / "m.pdparams").write_bytes(pickle.dumps(state, protocol))
    back = dyn.load(tmp_path / "m.pdparams")
    assert list(back) == ["fc.weight", "fc.bias", "step", "empty", "half"]
    assert back["half"].dtype == dyn.bfloat16 and back["half"].tolist() == [1.5, -2.0]
    assert np.array_equal(back["fc.weight"].numpy(), w) and back["fc.weight"].dtype == dyn.float32
    assert np.array_equal(back["fc.bias"].numpy(), w) and back["step"].item() == 2.0


class PaddleTensor:
    """Pickles as Paddle's tensors do inside nested objects."""

    def __init__(self, name, array):
        self.pair = (name, array)

    def __reduce__(self):
        return (tuple, (self.pair,))


class PaddleLoDTensor:
    """Pickles as Paddle's older tensors do."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        return (eval, ("data", {"data": self.array}))


def test_pdopt_and_nested_paddle_objects(tmp_path):
    m = np.ones([2, 2], np.float32)
    state = OrderedDict(
        linear_0=PaddleTensor("linear_0.w_0_moment1_0", m),
        old=PaddleLoDTensor(m),
        LR_Scheduler={"last_epoch": 3, "last_lr": 0.1},
        rest=[1, "two", (3.0, None)],
    )
    (tmp_path / "m.pdopt").write_bytes(pickle.dumps(state, 4))
    back = dyn.load(tmp_path / "m.pdopt")
    assert back["linear_0"].name == "linear_0.w_0_moment1_0" and back["linear_0"].shape == [2, 2]
    assert np.array_equal(back["old"].numpy(), m)
    assert back["LR_Scheduler"] == {"last_epoch": 3, "last_lr": 0.1}
    assert back["rest"] == [1, "two", (3.0, None)]


def test_sliced_paddle_parameters_are_joined(tmp_path):
    state = {
        "w@@.0": np.arange(4.0),
        "w@@.1": np.arange(4.0, 6.0),
        "UnpackBigParamInfor@@": {"w": {"OriginShape": (2, 3), "slices": ["w@@.0", "w@@.1"]}},
    }
    (tmp_path / "m").write_bytes(pickle.dumps(state, 2))
    assert np.array_equal(dyn.load(tmp_path / "m")["w"].numpy(), np.arange(6.0).reshape(2, 3))


# ---- PyTorch -----------------------------------------------------------------------------------


class Name:
    """Pickles as a reference to a name, whether that can be imported here or not."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a name."""

    def __init__(self, name, *args):
        self.name, self.args = name, args


class Stored:
    """Pickles as a persistent id."""

    def __init__(self, *pid):
        self.pid = pid


_PythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]


class Forger(_PythonPickler):
    """Writes pickles that name anything."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.name)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def forge(obj, protocol=2):
    buffer = io.BytesIO()
    Forger(buffer, protocol).dump(obj)
    return buffer.getvalue()


def tensor(storage, offset, shape, strides):
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    return Call(
        rebuild, storage, offset, shape, strides, False, Call(Name("collections", "OrderedDict"))
    )


def storage(key="0", kind="FloatStorage", count=6):
    return Stored("storage", Name("torch", kind), key, "cpu", count)


def archive(path, obj, data, order="little", compress=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("m/data.pkl", forge(obj))
        file.writestr("m/byteorder", order)
        for key, raw in data.items():
            file.writestr(f"m/data/{key}", raw)
        for name in extra:
            file.writestr(f"m/{name}", b"")


def test_pth(tmp_path):
    w = np.arange(6, dtype=np.float32)
    half = np.array([1.5, 2.0], dyn.bfloat16.numpy)
    state = {
        "w": tensor(storage(), 0, (2, 3), (3, 1)),
        "t": tensor(storage(), 0, (3, 2), (1, 3)),
        "row": tensor(storage(), 3, (3,), (1,)),
        "wide": tensor(storage(), 0, (4, 1), (0, 1)),
        "none": tensor(storage(), 0, (0, 3), (3, 1)),
        "p": Call(
            Name("torch._utils", "_rebuild_parameter"),
            tensor(storage(), 0, (2, 3), (3, 1)),
            True,
            Call(Name("collections", "OrderedDict")),
        ),
        "half": tensor(storage("1", "BFloat16Storage", 2), 0, (2,), (1,)),
        "size": Call(Name("torch", "Size"), (2, 3)),
        "dtype": Name("torch", "float16"),
        "device": Call(Name("torch", "device"), "cuda", 0),
        "epoch": 3,
        "lr": [0.1, (0.9, 0.999)],
    }
    archive(tmp_path / "m.pth", state, {"0": w.tobytes(), "1": half.tobytes()})
    back = dyn.load(tmp_path / "m.pth")
    assert np.array_equal(back["w"].numpy(), w.reshape(2, 3))
    assert np.array_equal(back["t"].numpy(), w.reshape(2, 3).T)
    assert back["row"].tolist() == [3.0, 4.0, 5.0] and back["wide"].tolist() == [[0.0]] * 4
    assert back["none"].shape == [0, 3] and np.array_equal(back["p"].numpy(), w.reshape(2, 3))
    assert back["half"].dtype == dyn.bfloat16 and back["half"].tolist() == [1.5, 2.0]
    assert back["size"] == (2, 3) and back["dtype"] == "float16" and back["device"] == "cpu"
    assert back["epoch"] == 3 and back["lr"] == [0.1, (0.9, 0.999)]


def test_pth_of_a_big_endian_machine(tmp_path):
    w = np.arange(6, dtype=">f4")
    archive(tmp_path / "m", {"w": tensor(storage(), 0, (6,), (1,))}, {"0": w.tobytes()}, "big")
    assert dyn.load(tmp_path / "m")["w"].tolist() == list(range(6))


RAW = np.arange(6, dtype=np.float32).tobytes()
BAD_ARCHIVES = {
    "beyond its storage": (tensor(storage(), 0, (2, 4), (4, 1)), "beyond its storage"),
    "negative": (tensor(storage(), -1, (2,), (1,)), "sizes and strides"),
    "far away": (tensor(storage(), 2**62, (2,), (2**62,)), "beyond its storage"),
    "no storage": (tensor([1], 0, (2,), (1,)), "sizes and strides"),
    "other persistent": (Stored("module", "x"), "not enough values|damaged|not a storage"),
    "missing data": (tensor(storage("7"), 0, (2,), (1,)), "damaged"),
    "storage made": (Call(Name("torch", "FloatStorage"), 10**12), "storage of its own"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_archives_that_do_not_fit_together(tmp_path, name):
    obj, text = BAD_ARCHIVES[name]
    archive(tmp_path / "m", {"w": obj}, {"0": RAW})
    with pytest.raises(dyn.StateError, match=text):
        dyn.load(tmp_path / "m")


def test_a_tensor_repeated_without_end_costs_no_memory(tmp_path):
    archive(tmp_path / "m", {"w": tensor(storage(), 0, (10**9, 6), (0, 1))}, {"0": RAW})
    assert dyn.load(tmp_path / "m")["w"]._array.shape == (10**9, 6)


def test_archives_of_other_kinds(tmp_path):
    archive(tmp_path / "script", {}, {}, extra=["constants.pkl"])
    archive(tmp_path / "packed_script", {}, {}, "little", zipfile.ZIP_DEFLATED, ["constants.pkl"])
    for name in ("script", "packed_script"):
        with pytest.raises(dyn.StateError, match="TorchScript"):
            dyn.load(tmp_path / name)
    (tmp_path / "old").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
    with pytest.raises(dyn.StateError, match=r"format of PyTorch before 1\.6"):
        dyn.load(tmp_path / "old")
    archive(tmp_path / "packed", {}, {"0": b"\0" * 10000}, compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(dyn.StateError, match="compressed"):
        dyn.load(tmp_path / "packed")
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("readme", "x")
    with pytest.raises(dyn.StateError, match="not one of PyTorch"):
        dyn.load(tmp_path / "zip")


# ---- hostile files -----------------------------------------------------------------------------


def attacks(marker):
    """Real attacks: each would create the file `marker` if anything in it ran."""
    command = f"touch {marker}"
    source = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(Name("os", "system"), command),
        "posix.system": Call(Name("posix", "system"), command),
        "subprocess": Call(Name("subprocess", "getoutput"), command),
        "exec": Call(Name("builtins", "exec"), source),
        "eval": Call(Name("builtins", "eval"), source),
        "eval as Paddle spells it": Call(Name("builtins", "eval"), source, {"data": np.ones(2)}),
        "getattr": Call(Name("builtins", "getattr"), [], "append"),
        "numpy load": Call(Name("numpy", "load"), "x", None, True),
        "numpy f2py": Call(Name("numpy.testing._private.utils", "runstring"), source, {}),
        "runpy": Call(Name("runpy", "_run_code"), source, {}),
        "dotted name": Call(Name("torch", "serialization.os.system"), command),
        "our own module": Call(Name("dyn.serialization.unpickle", "os.system"), command),
        "whole model": Call(Name("torch.nn.modules.linear", "Linear"), 2, 2),
        "through a subclass": Call(
            Name("torch._tensor", "_rebuild_from_type_v2"),
            Name("os", "system"),
            Name("torch", "Tensor"),
            (command,),
            None,
        ),
    }


NAMES = list(attacks("x"))


@pytest.mark.parametrize("kind", ["pickle", "archive"])
@pytest.mark.parametrize("name", NAMES)
def test_attacks_are_refused_and_nothing_runs(tmp_path, kind, name):
    marker = tmp_path / "pwned"
    attack = {"w": attacks(marker)[name]}
    if kind == "pickle":
        (tmp_path / "f").write_bytes(forge(attack))
    else:
        archive(tmp_path / "f", attack, {})
    with pytest.raises(dyn.StateError):
        dyn.load(tmp_path / "f")
    assert not marker.exists()


def test_the_refusal_names_what_was_asked_for(tmp_path):
    (tmp_path / "f").write_bytes(pickle.dumps(os.system, 4))
    with pytest.raises(dyn.StateError, match=r"asks for (posix|nt).system while it is read"):
        dyn.load(tmp_path / "f")


def test_the_stand_ins_cannot_be_changed(tmp_path):
    # BUILD with a (None, slots) state would set attributes of whatever is on the stack.
    for target in (b"cnumpy\nndarray\n", b"ccollections\nOrderedDict\n"):
        program = b"\x80\x02" + target + pickle.dumps((None, {"_function": print}), 2)[2:-1] + b"b."
        (tmp_path / "f").write_bytes(program)
        with pytest.raises(dyn.StateError):
            dyn.load(tmp_path / "f")
    with pytest.raises(dyn.StateError, match="tries to change"):
        unpickle.NUMPY["numpy", "ndarray"]._function = print


def test_arrays_of_objects_and_of_wrong_sizes_are_refused(tmp_path):
    (tmp_path / "o").write_bytes(pickle.dumps({"a": np.array([{}, []], object)}, 4))
    with pytest.raises(dyn.StateError):
        dyn.load(tmp_path / "o")
    (tmp_path / "s").write_bytes(pickle.dumps({"a": np.array(["text"])}, 4))
    with pytest.raises(dyn.StateError, match="only numbers are"):
        dyn.load(tmp_path / "s")
    good = pickle.dumps(np.arange(4, dtype=np.uint8), 4)
    (tmp_path / "w").write_bytes(good.replace(b"K\x04\x85", b"K\x40\x85"))
    with pytest.raises(dyn.StateError, match="comes with"):
        dyn.load(tmp_path / "w")


def text(value):
    raw = value.encode()
    return b"U" + bytes([len(raw)]) + raw


def programs(command):
    """Pickle programs by what they try: each instruction that can name, call or change something,
    and those that make a small file cost much."""
    run = text(str(command))
    twice = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
    return {
        "GLOBAL, REDUCE": b"\x80\x02cos\nsystem\n" + run + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + run + b"\x85R.",
        "INST": b"\x80\x02(" + run + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + run + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + run + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + run + b"\x85}\x92.",
        "EXT1": b"\x80\x02\x82\xf7" + run + b"\x85R.",
        "EXT2, unknown": b"\x80\x02\x83\x99\x99.",
        "PERSID": b"\x80\x02Pos.system\n.",
        "BINPERSID": b"\x80\x02" + run + b"Q.",
        "BUILD": b"\x80\x02cnumpy\nndarray\n}" + text("_function") + run + b"sb.",
        "BUILD of a class": b"\x80\x02ccollections\nOrderedDict\n}" + text("get") + run + b"sb.",
        "dotted name": b"\x80\x04" + text("collections") + text("OrderedDict.get") + b"\x93.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "empty stack": b"\x80\x020.",
        "unknown protocol": b"\x80\x63N.",
        "a name for data": b"\x80\x02cnumpy\nndarray\n.",
        "key that hashes for ever": b"\x80\x04)\x94" + twice + b"}h\x3cK\x01s.",
        "item that hashes for ever": b"\x80\x04)\x94" + twice + b"\x8f(h\x3c\x90.",
        "pairs that hash for ever": b"\x80\x04)\x94"
        + twice
        + b"ccollections\nOrderedDict\n]h\x3cK\x01\x86a\x85R.",
        "deep tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
        "deep dictionaries": b"\x80\x02" + b"}K\x00" * 100_000 + b"N" + b"s" * 100_000 + b".",
        "much text": b"\x80\x04\x8d" + (1 << 45).to_bytes(8, "little") + b"a.",
        "many bytes": b"\x80\x04\x8e" + (1 << 45).to_bytes(8, "little") + b"a.",
        "a long bytearray": b"\x80\x05\x96" + (1 << 45).to_bytes(8, "little") + b"a.",
        "a long frame": b"\x80\x04\x95" + (1 << 45).to_bytes(8, "little") + b"N.",
        "a long number": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        "a number of negative length": b"\x80\x02\x8b"
        + (-5).to_bytes(4, "little", signed=True)
        + b".",
    }


@pytest.mark.parametrize("name", programs("x"))
def test_hostile_programs_are_refused_and_nothing_runs(tmp_path, name):
    copyreg.add_extension("os", "system", 0xF7)
    try:
        marker = tmp_path / "pwned"
        (tmp_path / "f").write_bytes(programs(f"touch {marker}")[name])
        with pytest.raises(dyn.StateError):
            dyn.load(tmp_path / "f")
        assert not marker.exists()
    finally:
        copyreg.remove_extension("os", "system", 0xF7)


def test_a_large_memo_index_costs_no_memory(tmp_path):
    (tmp_path / "f").write_bytes(b"\x80\x02K\x07r\xff\xff\xff\xff.")
    tracemalloc.start()
    try:
        assert dyn.load(tmp_path / "f") == 7
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_loading_as_numpy(tmp_path):
    dyn.save({"w": dyn.ones([2]), "n": [3, dyn.zeros([1])]}, tmp_path / "f")
    back = dyn.load(tmp_path / "f", return_numpy=True)
    assert same(back, {"w": np.ones(2, "float32"), "n": [3, np.zeros(1, "float32")]})


def test_shared_lists_do_not_explode(tmp_path):
    value: list = []
    for _ in range(60):
        value = [value, value]
    (tmp_path / "f").write_bytes(pickle.dumps({"a": value}, 4))
    assert len(dyn.load(tmp_path / "f")["a"]) == 2


def test_a_list_that_holds_itself(tmp_path):
    value: list = [1]
    value.append(value)
    (tmp_path / "f").write_bytes(pickle.dumps({"a": value}, 4))
    back = dyn.load(tmp_path / "f")["a"]
    assert back[1] is back


def test_a_pickle_nested_too_deeply(tmp_path):
    (tmp_path / "f").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(dyn.StateError):
        dyn.load(tmp_path / "f")
