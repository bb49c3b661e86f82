"""Files as other programs write them: NIfTI by nibabel, DICOM by pydicom, with a world of known rotation; and a
user who may not do everything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def oblique_affine() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = rotation((20, -10, 35)) * [0.8, 1.1, 3.0]
    affine[:3, 3] = [-31.5, 12.25, 70.0]
    return affine


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(array, oblique_affine() if affine is None else affine), path)
    return path


def save_dicom_series(folder: Path, array: np.ndarray, affine: np.ndarray, *, slope: float = 1.0) -> Path:
    """Writes int16 (x, y, z) with a RAS affine as one CT file a slice, by hand with pydicom."""
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for z in range(array.shape[2]):
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = series, study, frame
        ds.Modality, ds.PatientID, ds.InstanceNumber = "CT", "p", z + 1
        ds.Columns, ds.Rows = array.shape[:2]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = str(slope), "0"
        ds.PixelSpacing = [f"{lengths[1]:.10g}", f"{lengths[0]:.10g}"]
        ds.SliceThickness = f"{lengths[2]:.10g}"
        ds.ImageOrientationPatient = [f"{v:.10g}" for v in np.r_[lps[:3, 0] / lengths[0], lps[:3, 1] / lengths[1]]]
        ds.ImagePositionPatient = [f"{v:.10g}" for v in lps[:3, 3] + lps[:3, 2] * z]
        ds.PixelData = np.ascontiguousarray(array[:, :, z].T).tobytes()
        name = f"{(z * 7) % array.shape[2]:03d}_{z}.dcm"  # file names say nothing about the order
        ds.save_as(folder / name, enforce_file_format=True)
    return folder


@contextmanager
def as_ordinary_user(folder: Path) -> Iterator[None]:
    """Where root, whom no file mode stops, runs the tests, the block runs as nobody, let in as far as `folder`."""
    if os.geteuid() != 0:
        yield
        return
    while not folder.stat().st_mode & 0o001:
        folder.chmod(0o755)
        folder = folder.parent
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
