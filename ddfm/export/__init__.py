"""ONNX files of what fuses, for programs without Python: browsers, small boards, C++."""
