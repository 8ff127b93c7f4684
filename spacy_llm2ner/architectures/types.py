"""What flows between the models."""

from thinc.types import Floats3d

# For each doc float16 (tokens, layers, width).
States = list[Floats3d]
# For each doc logits (tokens, width of the band, labels).
Bands = list[Floats3d]
