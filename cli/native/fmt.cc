// The compiled part of fmt, made again from its headers: distributions have it as a shared library only, and this
// program needs none.
#if __has_include(<fmt/format-inl.h>)
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template FMT_API auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template FMT_API auto decimal_point_impl<char>(locale_ref) -> char;
}  // namespace detail
FMT_END_NAMESPACE
#endif
