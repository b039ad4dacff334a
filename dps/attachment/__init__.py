"""What methods are made of: the base classes, what acts around a step, draws, guards.

May import dps.sources, dps.models, dps.tasks and what lies below them. Imported by dps.methods and above.
"""

from dps.attachment.base import Attachment, attachment_of
from dps.attachment.cost import MethodCost
from dps.attachment.method import DEFAULT_DROPOUT, Batch, Method

__all__ = ["DEFAULT_DROPOUT", "Attachment", "Batch", "Method", "MethodCost", "attachment_of"]
