"""Writes Jinja's syntax trees back as text, for messages: `headers['x-topic'] == 'paid'`."""

from jinja2 import nodes

_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in", "notin": "not in"}
_LEVELS: tuple[tuple[type[nodes.Node], ...], ...] = (  # from loose to tight
    (nodes.CondExpr,),
    (nodes.Or,),
    (nodes.And,),
    (nodes.Not,),
    (nodes.Test,),
    (nodes.Compare,),
    (nodes.Add, nodes.Sub),
    (nodes.Concat,),
    (nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
    (nodes.Pow,),
    (nodes.Filter,),
    (nodes.Neg, nodes.Pos),
)
_COMPARED, _FILTERED, _TIGHT = _LEVELS.index((nodes.Compare,)), _LEVELS.index((nodes.Filter,)), len(_LEVELS)


def spell(node: nodes.Node | None, length: int = 80) -> str:
    """The text of a tree, cut to `length` characters; parsing it gives the same tree where nothing was cut."""
    text = _spell(node) if node else ""
    return text if len(text) <= length else text[: length - 1] + "…"


def _level(node: nodes.Node) -> int:
    return next((level for level, kinds in enumerate(_LEVELS) if isinstance(node, kinds)), _TIGHT)


def _within(node: nodes.Node, level: int) -> str:
    return _spell(node) if _level(node) >= level else f"({_spell(node)})"


def _listed(items: list[nodes.Expr]) -> str:
    return ", ".join(map(_spell, items))


def _spell(node: nodes.Node) -> str:
    level = _level(node)
    match node:
        case nodes.Const(value=bool() | None as value):
            return str(value).lower()
        case nodes.Const(value=value):
            return repr(value)
        case nodes.Name(name=name):
            return name
        case nodes.Getattr():
            return f"{_within(node.node, _TIGHT)}.{node.attr}"
        case nodes.Getitem():
            return f"{_within(node.node, _TIGHT)}[{_spell(node.arg)}]"
        case nodes.Slice():
            return ":".join(_spell(part) if part else "" for part in (node.start, node.stop))
        case nodes.Call():
            return f"{_within(node.node, _TIGHT)}({_listed(node.args)})"
        case nodes.Not(node=nodes.Test() as test):
            return _test(test, " not")
        case nodes.UnaryExpr():
            sign = "not " if isinstance(node, nodes.Not) else node.operator
            return sign + _within(node.node, level)
        case nodes.BinExpr():
            return f"{_within(node.left, level)} {node.operator} {_within(node.right, level + 1)}"
        case nodes.Concat():
            return " ~ ".join(_within(part, level + 1) for part in node.nodes)
        case nodes.Compare():
            pairs = (f" {_COMPARISONS[operand.op]} {_within(operand.expr, level + 1)}" for operand in node.ops)
            return _within(node.expr, level + 1) + "".join(pairs)
        case nodes.CondExpr():
            otherwise = f" else {_spell(node.expr2)}" if node.expr2 else ""
            return f"{_within(node.expr1, _COMPARED)} if {_within(node.test, level + 1)}{otherwise}"
        case nodes.List():
            return f"[{_listed(node.items)}]"
        case nodes.Tuple():
            return f"({_listed(node.items)}{',' * (len(node.items) == 1)})"
        case nodes.Dict():
            return "{" + ", ".join(f"{_spell(pair.key)}: {_spell(pair.value)}" for pair in node.items) + "}"
        case nodes.Filter(node=nodes.Expr() as value):
            return f"{_within(value, level)} | {node.name}{_arguments(node)}"
        case nodes.Test():
            return _test(node, "")
        case nodes.Output():
            return "".join(
                p.data if isinstance(p, nodes.TemplateData) else f"{{{{ {_spell(p)} }}}}" for p in node.nodes
            )
        case _:
            return type(node).__name__.lower()


def _test(node: nodes.Test, negation: str) -> str:
    return f"{_within(node.node, _FILTERED)} is{negation} {node.name}{_arguments(node)}"


def _arguments(node: nodes.Filter | nodes.Test) -> str:
    given = [*map(_spell, node.args), *(f"{pair.key}={_spell(pair.value)}" for pair in node.kwargs)]
    return f"({', '.join(given)})" if given else ""
