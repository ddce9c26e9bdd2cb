"""Water-meter segmentation: data, model, training, registry and inference."""
