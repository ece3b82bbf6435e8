"""Datasets: pristine images for pre-training, and images with quality scores."""

from pathlib import Path

from data.iqa_dataset import IQADataset
from data.kadid10k import KADID10KDataset
from data.kadis700 import KADIS700Dataset

__all__ = ["IQA_DATASETS", "IQADataset", "KADIS700Dataset", "get_dataset"]

IQA_DATASETS = {d.name: d for d in (KADID10KDataset,)}


def get_dataset(name: str, data_base_path: str | Path, crop_size: int = 224) -> IQADataset:
    kind = IQA_DATASETS[name]
    return kind(Path(data_base_path) / kind.folder, crop_size)
