"""Find out which operators an ONNX file holds, from its bytes, before anything runs it.

An ONNX file is a protocol buffer (onnx/onnx.proto). Readers of protocol buffers differ in how they
treat unusual bytes, so anything that a usual writer would not write is refused: unknown fields,
numbers in more bytes than they need, and a repeated field that may occur only once.
"""

from collections.abc import Iterator

# Wire types of fields.
NUMBER = 0
EIGHT_BYTES = 1
BYTES = 2
FOUR_BYTES = 5
LARGEST_KEY = (1 << 32) - 1

# For each message, the numbers of its known fields and the wire types that they may have.
Known = dict[int, tuple[int, ...]]  # kinds of value by field number

MODEL: Known = {
    1: (NUMBER,),
    5: (NUMBER,),
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14), (BYTES,)),
}
GRAPH: Known = dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 16), (BYTES,))
NODE: Known = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 9), (BYTES,))
ATTRIBUTE = {
    2: (FOUR_BYTES,),
    3: (NUMBER,),
    7: (BYTES, FOUR_BYTES),
    8: (BYTES, NUMBER),
    20: (NUMBER,),
    **dict.fromkeys((1, 4, 5, 9, 10, 13), (BYTES,)),
}
# Without 13 and 14, which would name another file that holds the content.
TENSOR = {
    1: (BYTES, NUMBER),
    2: (NUMBER,),
    4: (BYTES, FOUR_BYTES),
    5: (BYTES, NUMBER),
    7: (BYTES, NUMBER),
    8: (BYTES,),
    9: (BYTES,),
    10: (BYTES, EIGHT_BYTES),
    11: (BYTES, NUMBER),
    12: (BYTES,),
    16: (BYTES,),
}
# Field numbers of a model.
THE_GRAPH = 7
FUNCTIONS = 25
# Of a graph.
A_NODE = 1
INITIALIZER = 5
# Of a node.
OPERATOR = 4
AN_ATTRIBUTE = 5
DOMAIN = 7
# Of an attribute.
A_TENSOR = 5
SUBGRAPH = 6
TENSORS = 10
SUBGRAPHS = 11

NAMES = """
    Abs Add And AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DepthToSpace DequantizeLinear Div Equal Erf Exp Expand Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool Greater GreaterOrEqual Identity
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Min
    Mod Mul Neg Not Or Pad Pow QuantizeLinear Range Reciprocal ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceSum Relu Reshape Resize Round Shape Sigmoid Slice Softmax Softplus SpaceToDepth
    Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze Where
"""
# Arithmetic on arrays: no loops, no branches, no files, no strings, no randomness.
ALLOWED = frozenset(NAMES.split())


def strange_operators(model: bytes) -> set[str]:
    """What a serialised model holds besides ALLOWED operators, as words for a message.

    Raises ValueError when the bytes are not those of a model, or unusual ones.
    """
    strange = set()
    allowed: Known = MODEL | {FUNCTIONS: (BYTES,)}
    for number, value in fields(memoryview(model), allowed, once={THE_GRAPH}):
        if number == FUNCTIONS:
            strange.add("functions of its own")
        elif number == THE_GRAPH:
            for kind, node in fields(value, GRAPH):
                if kind == A_NODE:
                    strange |= strange_in_node(node)
                elif kind == INITIALIZER:
                    check_tensor(node)

    return strange


def strange_in_node(node: memoryview) -> set[str]:
    """What a node holds besides an allowed operator, as words for a message."""
    strange = set()
    domain = b""
    name = ""
    attributes = []

    for number, value in fields(node, NODE, once={OPERATOR, DOMAIN}):
        if number == DOMAIN:
            domain = bytes(value)
        elif number == OPERATOR:
            name = bytes(value).decode(errors="replace")
        elif number == AN_ATTRIBUTE:
            attributes.append(value)

    # An operator of another domain may call code outside of onnxruntime.
    if domain not in (b"", b"ai.onnx") or name not in ALLOWED:
        strange.add(name)
    allowed = ATTRIBUTE | dict.fromkeys((SUBGRAPH, SUBGRAPHS), (BYTES,))
    # Graphs inside attributes (loops, branches) would escape this check.
    for attribute in attributes:
        for kind, value in fields(attribute, allowed):
            if kind in (SUBGRAPH, SUBGRAPHS):
                strange.add(f"{name} with a graph inside")
            elif kind in (A_TENSOR, TENSORS):
                check_tensor(value)

    return strange


def check_tensor(tensor: memoryview) -> None:
    """Raise ValueError for a tensor whose content lies in another file."""
    for _ in fields(tensor, TENSOR):
        pass


def fields(
    data: memoryview,
    known: Known,
    once: frozenset[int] | set[int] = frozenset(),
) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of each field of a message; fields that are numbers have no bytes.

    Parameters
    ----------
    data : the message.
    known : for each known field, the wire types that it may have.
    once : fields that may occur only once.

    Raises
    ------
    ValueError
        For an unknown field, a repeated one that may occur only once, and a message cut short.
    """
    place = 0
    seen = set()

    while place < len(data):
        key, place = varint(data, place)
        number = key >> 3
        kind = key & 7
        # A reader that skips unknown fields may differ from onnxruntime's, and
        # then something else is run than was checked.
        if key > LARGEST_KEY or kind not in known.get(number, ()):
            raise ValueError(
                f"it has a field {number} of kind {kind}, which is not known"
            )
        if number in once and number in seen:
            raise ValueError(f"it has its field {number} twice")
        seen.add(number)

        if kind == BYTES:
            length, place = varint(data, place)
        elif kind == NUMBER:
            _, place = varint(data, place)
            length = 0
        else:
            length = 8 if kind == EIGHT_BYTES else 4

        # Lengths come from the file itself: never trust them.
        if place + length > len(data):
            raise ValueError("it is cut short")
        yield (
            number,
            data[place : place + length] if kind == BYTES else data[:0],
        )
        place += length


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it.

    Raises ValueError when it has more bytes than it needs.
    """
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64 or (byte == 0 and shift > 0):
                raise ValueError(
                    "a number is written in more bytes than it needs"
                )
            return value, place

    raise ValueError("it is cut short")
