"""Reading dumps of dialogues: ShareGPT, HC3, pairs, Alpaca, messages, data sets of the hub."""
