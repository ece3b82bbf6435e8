from pathlib import Path

import numpy as np


def read_splits(name, root, rows):
    return {p: np.atleast_2d(np.load(Path(root)/"splits"/f"{p}.npy")) for p in ("train","val","test")}
def make_splits(rows, references=None, seed=27, count=10):
    refs = np.array(references); names = np.unique(refs); out={"train":[],"val":[],"test":[]}
    for s in range(count):
        order=np.random.default_rng([seed,s]).permutation(names); n=len(names)
        nt=max(1,round(.2*n)); nv=max(1,round(.1*n))
        for p,sel in (("test",order[:nt]),("val",order[nt:nt+nv]),("train",order[nt+nv:])):
            out[p].append(np.flatnonzero(np.isin(refs,sel)))
    def pad(r):
        m=max(map(len,r)); return np.array([np.pad(x,(0,m-len(x)),constant_values=-1) for x in r])
    return {p:pad(r) for p,r in out.items()}
def save_splits(folder, splits, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for p,r in splits.items(): np.save(folder/f"{p}.npy", r)
