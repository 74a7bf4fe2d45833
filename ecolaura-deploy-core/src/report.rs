//! Presentations of the event stream.
