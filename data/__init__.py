"""Datasets: pristine images for pre-training, and images with quality scores."""

from pathlib import Path

from data.clive import CLIVEDataset
from data.csiq import CSIQDataset
from data.custom import COLUMNS, LABELS, CustomDataset
from data.flive import FLIVEDataset
from data.iqa_dataset import IQADataset
from data.kadid10k import KADID10KDataset
from data.kadis700 import KADIS700Dataset
from data.koniq10k import KonIQ10kDataset
from data.live import LIVEDataset
from data.spaq import SPAQDataset
from data.tid2013 import TID2013Dataset
from utils.errors import UserError

__all__ = ["IQA_DATASETS", "IQADataset", "KADIS700Dataset", "get_dataset"]

IQA_DATASETS: dict[str, type[IQADataset]] = {
    dataset.name: dataset
    for dataset in (
        LIVEDataset,
        CSIQDataset,
        TID2013Dataset,
        KADID10KDataset,
        FLIVEDataset,
        SPAQDataset,
        CLIVEDataset,
        KonIQ10kDataset,
    )
}


def get_dataset(name: str, data_base_path: str | Path, crop_size: int = 224, with_splits: bool = True) -> IQADataset:
    """The dataset of that name: one of the eight, or the user's folder of that name in `data_base_path`.

    Raises:
        UserError: there is no such dataset, or its files are not as they should be.
    """
    if not Path(data_base_path).is_dir():
        raise UserError(
            f"data_base_path: {data_base_path} is no folder; it should hold the datasets' folders "
            "('python -m data.quickstart' makes a small one called quickstart_data)"
        )
    if name in IQA_DATASETS:
        kind = IQA_DATASETS[name]
        return kind(Path(data_base_path) / kind.folder, crop_size, with_splits)
    own = Path(data_base_path) / name
    if not (own / LABELS).exists():
        raise UserError(
            f"dataset {name!r}: neither one of {', '.join(IQA_DATASETS)} nor a folder with a {LABELS} ({COLUMNS}), "
            f"looked for at {own / LABELS}"
        )
    return CustomDataset(own, crop_size, with_splits)
