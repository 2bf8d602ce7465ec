//! The book of versions and the stream that carries it to the data planes.
