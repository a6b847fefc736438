"""Side by side with torch.onnx: the same networks, exported by both and run in onnxruntime."""
