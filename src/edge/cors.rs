//! Which origins may open a WebSocket.
