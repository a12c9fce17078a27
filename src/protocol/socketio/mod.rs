//! Socket.IO 5 over Engine.IO 4: what one namespace's messages mean.

pub mod codec;
mod decode;
mod event;
pub mod packet;
mod words;
mod writer;

#[cfg(test)]
mod tests;
