"""Metrics beside those of MMDetection and MMSegmentation."""

from .panoptic_quality import PanopticQualityMetric

__all__ = ['PanopticQualityMetric']
