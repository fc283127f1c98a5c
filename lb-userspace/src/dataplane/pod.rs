//! Lets table types cross into aya's maps: lb-common knows bytemuck's `Pod`, aya has one of its own.

#![expect(unsafe_code, reason = "one promise, made once for all table types")]

/// A table entry as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: aya asks for a type that can be copied from and to bytes; bytemuck's `Pod` promises that and more, and the wrapper
// is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Shared<T> {}
