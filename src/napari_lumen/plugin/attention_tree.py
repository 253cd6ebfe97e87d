"""What a model offers to look at, as a tree: of an explained field, or of what a run keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_lumen.annotations.decision import STATES, has_states

if TYPE_CHECKING:
    from napari_lumen.explain.parts import ExplainedField, Item, Part
    from napari_lumen.explain.run_maps import RunMaps

NodeKind = Literal["part", "map", "channels", "boxes", "classes", "table"]


@dataclass(frozen=True)
class Node:
    """One line of the tree.

    Attributes
    ----------
    name : str
        Of a map as `MapSource.find` takes it; with `STATES` at its end it is shown as tumour, normal and no
        label.
    title : str
    kind : {"part", "map", "channels", "boxes", "classes", "table"}
    description : str
        For the tooltip.
    comparable : bool
        See `RunMap`.
    raw : str or None
        See `RunMap`.
    children : tuple of Node
    """

    name: str
    title: str
    kind: NodeKind
    description: str = ""
    comparable: bool = True
    raw: str | None = None
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def find_node(tree: tuple[Node, ...], name: str | None) -> Node | None:
    """Return the line of a name that can be chosen, or None."""
    lines = (node for root in tree for node in root.walk())
    return next((node for node in lines if node.name == name and node.kind != "part"), None)


def first_map(tree: tuple[Node, ...], *wanted: str) -> str | None:
    """Return the first of some names that is a map of the tree, else its first map of the network."""
    maps = [node.name for root in tree for node in root.walk() if node.kind == "map"]
    own = [name for name in maps if not name.startswith("probability.") and name != "entropy"]
    return next(iter([*(name for name in wanted if name in maps), *own, *maps]), None)


def field_tree(explained: ExplainedField, extra: tuple[Item, ...] = ()) -> tuple[Node, ...]:
    """Return the tree of an explained field: the answer, then the network's parts.

    Parameters
    ----------
    explained : ExplainedField
    extra : tuple of Item
        Maps of single channels; each stands below its gate.
    """
    return tuple(_part(part, extra) for part in explained.parts)


def run_tree(maps: RunMaps) -> tuple[Node, ...]:
    """Return the tree of what a run keeps: the answer, then the network's parts."""
    from napari_lumen.explain.titles import ANSWER, NETWORK, full_title, item_title, part_title, reading_order

    def named(name: str) -> str:
        """Return a title that tells the levels of one part apart."""
        return item_title(name) if "." in name else full_title(name)

    answer: list[Node] = []
    stages: dict[str, list[Node]] = {}
    for item in maps.maps:
        title = item.title if item.kind != "attention" else named(item.name)
        nodes = _map_nodes(item.name, title, item.description, item.comparable, item.raw)
        if item.kind == "attention":
            stages.setdefault(item.name.rpartition(".")[0] or NETWORK, []).extend(nodes)
        else:
            answer.extend(nodes)
    for name in maps.gates:
        node = Node(name, named(name), "channels", "A gate a channel, of each tile.")
        stages.setdefault(name.rpartition(".")[0] or NETWORK, []).append(node)
    for file in maps.run.record.files:
        if file.kind == "boxes":
            node = Node(file.name, named(file.name), "boxes", file.description)
            stages.setdefault(file.name.rpartition(".")[0] or NETWORK, []).append(node)
    roots = [Node(ANSWER, part_title(ANSWER), "part", children=tuple(answer))] if answer else []
    for head in reading_order(list(dict.fromkeys(stage.partition(".")[0] for stage in stages))):
        inner = [
            Node(stage, part_title(stage), "part", children=tuple(nodes))
            for stage, nodes in stages.items()
            if stage.startswith(f"{head}.")
        ]
        roots.append(Node(head, part_title(head), "part", children=(*stages.get(head, ()), *inner)))
    return tuple(roots)


def _part(part: Part, extra: tuple[Item, ...]) -> Node:
    items = [node for item in part.items for node in _item(item, extra)]
    inner = (_part(child, extra) for child in part.parts)
    return Node(part.name, part.title, "part", children=(*items, *inner))


def _item(item: Item, extra: tuple[Item, ...]) -> list[Node]:
    if item.kind == "map":
        return _map_nodes(item.name, item.title, item.description, item.comparable, item.raw)
    below = [node for more in extra if more.name.startswith(f"{item.name}.") for node in _item(more, ())]
    return [Node(item.name, item.title, item.kind, item.description, children=tuple(below))]


def _map_nodes(name: str, title: str, description: str, comparable: bool, raw: str | None) -> list[Node]:
    nodes = [Node(name, title, "map", description, comparable, raw)]
    if has_states(name):
        said = "Tumour (red) from 0.5 on, normal (grey) below it, no label (purple) where there is no tissue."
        nodes.append(Node(name + STATES, "Tumour, normal, no label", "map", said))
    return nodes
