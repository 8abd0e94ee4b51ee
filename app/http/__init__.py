"""HTTP: routes that parse, call one service method and return a schema; who may call; how answers look."""
