//! Socket.IO 5 over Engine.IO 4: what one namespace's messages mean.

pub mod packet;
