//! Record → acknowledged delivery: the ticket socket.
