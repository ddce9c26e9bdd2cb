"""The data set's versions: merging new photos, joining branches, publishing; no existing photo is ever fetched."""
