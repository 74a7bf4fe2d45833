//! A scanner over the image's contents.
