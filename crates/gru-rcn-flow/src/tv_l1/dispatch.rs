//! Compilation of loops for several instruction sets.

/// Compiles a function twice, for the target's baseline and for AVX2, and calls the version that the
/// processor supports.
///
/// The body is plain Rust that the compiler vectorises. AVX2 is enabled without fused multiply-add, so
/// both versions round alike, and a flow has the same bits with either.
macro_rules! for_each_cpu {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$attribute])*
        $vis fn $name($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            fn portable($($arg: $ty),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) $(-> $out)? {
                portable($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the function is safe on a processor with AVX2, and this one has it.
                return unsafe { avx2($($arg),*) };
            }
            portable($($arg),*)
        }
    };
}

pub(super) use for_each_cpu;
