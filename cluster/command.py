"""What the commands of this folder share: a parser that refuses in one line."""

from __future__ import annotations
