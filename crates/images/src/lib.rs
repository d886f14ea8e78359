//! OCI images into erofs, guest kernels into a cache
#![forbid(unsafe_code)]
