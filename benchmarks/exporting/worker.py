"""Runs in the interpreter of one exporter: exports one network, prints one line of JSON.

Usage: python worker.py dyn|torch NET FILE. Imports the standard library, onnx and the exporter.
"""

import contextlib
import importlib
import json
import os
import sys
import warnings

import onnx


def count(nodes):
    """Nodes with those of sub-graphs."""
    return sum(
        1 + sum(count(a.g.node) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
        for node in nodes
    )


def main(peer, name, path):
    """Export once cold and again warm, then look at the file."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:0] = [here, os.path.dirname(here)]
    warnings.simplefilter("ignore")
    nets = importlib.import_module("nets")
    framework = importlib.import_module(f"{peer}_nets")
    with contextlib.redirect_stdout(sys.stderr):
        answer = framework.export(nets.BY_NAME[name], path)
    model = onnx.load(path, load_external_data=False)
    answer |= {
        "nodes": count(model.graph.node) + sum(count(f.node) for f in model.functions),
        "bytes": os.path.getsize(path),
        "version": framework.VERSION,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
