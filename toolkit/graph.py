"""Which operators an ONNX file holds, read from its bytes before anything runs it.

An ONNX file is a protocol buffer (onnx/onnx.proto); of it only the fields that lead to operators are followed.
"""

from collections.abc import Iterator

GRAPH, FUNCTIONS = 7, 25  # fields of a model
NODE = 1  # of a graph
ATTRIBUTE, OPERATOR, DOMAIN = 5, 4, 7  # of a node
SUBGRAPH, SUBGRAPHS = 6, 11  # of an attribute
NAMES = """
    Abs Add And AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace
    DequantizeLinear Div Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool Greater
    GreaterOrEqual Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Min Mod Mul
    Neg Not Or Pad Pow QuantizeLinear Range Reciprocal ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape
    Resize Round Shape Sigmoid Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze
    Where
"""
ALLOWED = frozenset(
    NAMES.split()
)  # arithmetic on arrays: no loops, no branches, no files, no strings, no randomness


def strange_operators(model: bytes) -> set[str]:
    """What a serialised model holds besides ALLOWED operators. ValueError when the bytes are no protocol buffer."""
    found = set()
    for number, value in fields(memoryview(model)):
        if number == FUNCTIONS:
            found.add("functions of its own")
        elif number == GRAPH:
            for node in (node for kind, node in fields(value) if kind == NODE):
                parts = list(fields(node))
                domain, operator = (
                    b"".join(bytes(v) for n, v in parts if n == wanted)
                    for wanted in (DOMAIN, OPERATOR)
                )
                name = operator.decode(errors="replace")
                if domain not in (b"", b"ai.onnx") or name not in ALLOWED:
                    found.add(name)
                inner = (kind for n, v in parts if n == ATTRIBUTE for kind, _ in fields(v))
                if any(kind in (SUBGRAPH, SUBGRAPHS) for kind in inner):
                    found.add(f"{name} with a graph inside")
    return found


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field of a message; of numbers, which are of no use here, no bytes."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        kind = key & 7
        if kind == 2:
            length, place = varint(data, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        elif kind == 0:
            _, place = varint(data, place)
            length = 0
        else:
            raise ValueError("no protocol buffer")
        if place + length > len(data):
            raise ValueError("cut short")
        yield key >> 3, data[place : place + length] if kind == 2 else data[:0]
        place += length


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("cut short")
