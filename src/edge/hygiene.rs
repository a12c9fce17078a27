//! What a request must look like before anything believes it.
