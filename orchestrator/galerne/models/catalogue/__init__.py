"""What is known of Mistral's models, and which of them suits a job.

`load` reads the packaged `models.toml` and a user's file over it; a `Catalogue` finds a model by
any name on any back end and knows what the hosted API has let go; `choose` recommends a planner
and an executor, and `serving` says how to start and name them.
"""

from galerne.models.catalogue.catalogue import Catalogue, load, load_setting, packaged
from galerne.models.catalogue.choosing import Pick, Recommendation, Rejected, Wish, choose
from galerne.models.catalogue.gpus import Gpus
from galerne.models.catalogue.model import BackEnd, Memory, Model
from galerne.models.catalogue.serving import Serving, serving

__all__ = [
    "Catalogue",
    "load",
    "load_setting",
    "packaged",
    "Model",
    "Memory",
    "BackEnd",
    "choose",
    "Wish",
    "Gpus",
    "Recommendation",
    "Pick",
    "Rejected",
    "serving",
    "Serving",
]
