"""Putting graphs together to a file that other programs take."""

import onnx

from pixeldistill.graphs.resizing import Graph


def finished(model: Graph) -> Graph:
    """Return a merged model with one version of each domain and our name, checked."""
    versions = {known.domain: known.version for known in sorted(model.opset_import, key=lambda known: known.version)}
    del model.opset_import[:]  # each part has brought its own, and other programs want one of a domain
    model.opset_import.extend(onnx.helper.make_opsetid(*known) for known in versions.items())
    model.producer_name = "pixeldistill"
    model.graph.name = "pixeldistill"
    model.graph.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model
