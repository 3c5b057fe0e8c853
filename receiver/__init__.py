"""The receiving end of a call: listens, fills in the frames it does not have, renders and shows them."""
