"""The data-parallel ranks as every method sees them: the collectives and a single-process twin."""

from .communicator import Communicator, Pending, ProcessGroupCommunicator, SingleProcess

__all__ = ['Communicator', 'Pending', 'ProcessGroupCommunicator', 'SingleProcess']
