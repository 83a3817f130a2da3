#include "compiler/base/c_names.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace kroton {
namespace {

// Keywords of C and C++.
constexpr std::string_view keywords =
    " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t "
    "char32_t char8_t class co_await co_return co_yield compl concept const const_cast consteval "
    "constexpr constinit continue decltype default delete do double dynamic_cast else enum "
    "explicit export extern false float for friend goto if inline int long mutable namespace new "
    "noexcept not not_eq nullptr operator or or_eq private protected public register "
    "reinterpret_cast requires restrict return short signed sizeof static static_assert "
    "static_cast struct switch template this thread_local throw true try typedef typeid typename "
    "typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq ";

// Macros without parameters that are no names of capitals: those of compilers, then those of the
// standard headers. What begins with PRI or SCN is among them too.
constexpr std::string_view macros =
    " i386 linux unix "
    "I L_ctermid L_cuserid L_tmpnam M_E P_tmpdir complex errno imaginary math_errhandling noreturn "
    "sa_handler sa_sigaction si_addr si_addr_lsb si_arch si_band si_call_addr si_fd si_int "
    "si_lower si_overrun si_pid si_pkey si_ptr si_status si_stime si_syscall si_timerid si_uid "
    "si_upper si_utime si_value sigev_notify_attributes sigev_notify_function st_atime st_ctime "
    "st_mtime stderr stdin stdout ";

// Macros with parameters, which a function's declaration would expand. Those that are functions of
// the library as well are found there.
constexpr std::string_view function_macros =
    " alloca assert be16toh be32toh be64toh fpclassify htobe16 htobe32 htobe64 htole16 htole32 "
    "htole64 isfinite isascii_l isgreater isgreaterequal isless islessequal islessgreater isnormal "
    "isunordered kill_dependency le16toh le32toh le64toh major makedev minor offsetof setjmp "
    "sigmask signbit sigsetjmp toascii_l va_arg va_copy va_end va_start ";

// What the standard headers declare and the shared library does not have: types, constants of
// enumerations, functions that are linked statically.
constexpr std::string_view declared =
    " DIR FILE at_quick_exit atexit caddr_t crypt fd_mask fd_set jmp_buf memory_order once_flag "
    "pthread_atfork "
    "quad sigjmp_buf std u_char u_int u_long u_short uint ulong ushort va_list ";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

bool is_among(std::string_view list, std::string_view name) {
  return list.find(" " + std::string(name) + " ") != std::string_view::npos;
}

bool looks_like_a_macro(std::string_view name) {
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_capital(c) || is_digit(c) || c == '_'; }) &&
         std::count_if(name.begin(), name.end(), is_capital) >= 3;
}

bool is_macro(std::string_view name) {
  return looks_like_a_macro(name) || is_among(macros, name) || name.starts_with("PRI") ||
         name.starts_with("SCN");
}

// Capitals made small where they make a macro of the name.
std::string no_macro(std::string name) {
  if (!is_macro(name)) return name;
  for (char& c : name) {
    if (is_capital(c)) c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

std::string why_no_identifier(const std::string& name) {
  if (name.empty()) return "it is empty";
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
  if (!plain || is_digit(name[0])) {
    return "wanted are letters, digits and underscores, beginning with a letter";
  }
  if (name[0] == '_' || name.find("__") != std::string::npos) {
    return "C and C++ keep names that begin with an underscore, or hold two in a row, for "
           "themselves";
  }
  if (is_among(keywords, name)) return "it is a keyword of C or C++";
  if (looks_like_a_macro(name)) return "names of capitals are those of macros";
  if (is_macro(name)) return "it is a macro of the C library";
  return "";
}

// Whether libc or libm, which every program on this system is linked with, has a function or
// variable of that name.
bool is_in_c_library(const std::string& name) {
  static void* const library = ::dlopen("libm.so.6", RTLD_LAZY);  // libc is among its dependencies
  return ::dlsym(library != nullptr ? library : RTLD_DEFAULT, name.c_str()) != nullptr;
}

// The length of the UTF-8 sequence at the begin of a text that is fit for a comment, else 0.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < length) return 0;
  std::uint32_t code = byte(0) & (0x7fU >> length);
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(k) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(k) & 0x3fU);
  }
  const bool shortest = code >= (length == 2 ? 0x80U : length == 3 ? 0x800U : 0x10000U);
  const bool exists = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  const bool control = code < 0xa0;
  const bool turns = code == 0x61c || code == 0x200e || code == 0x200f ||
                     (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return shortest && exists && !control && !turns ? length : 0;
}

}  // namespace

std::string to_identifier(std::string_view text) {
  std::string name;
  for (const char c : text) {
    if (is_letter(c) || is_digit(c)) {
      name += c;
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  return name;
}

bool is_c_word(std::string_view name) {
  // What <stdatomic.h> declares may be macros without arguments, as in Clang's.
  return is_among(keywords, name) || is_macro(name) || name.starts_with("atomic_");
}

namespace {

std::string why_not_declared(const std::string& name) {
  if (std::string why = why_no_identifier(name); !why.empty()) return why;
  if (name == "main") return "it is where programs begin";
  if (name.ends_with("_t")) return "names that end in _t are those of types";
  if (is_among(function_macros, name)) return "it is a macro of the C library";
  if (is_among(declared, name) || name.starts_with("atomic_") || name.starts_with("memory_order") ||
      name.starts_with("thrd_") || name.starts_with("mtx_")) {
    return "the C or C++ library declares that name";
  }
  for (const char* own : {"kroton_context", "kroton_cholesky", "kroton_solve"}) {
    if (name.starts_with(own)) return "Kroton's own runtime declares that name";
  }
  if (is_in_c_library(name)) return "the C library has that name already";
  return "";
}

}  // namespace

std::string why_no_function(const std::string& name) {
  std::string why = why_not_declared(name);
  for (const char* suffix : {"_error", "_arena_bytes", "_state", "_state_place", "_state_init"}) {
    if (!why.empty()) break;
    why = why_not_declared(name + suffix);
    if (!why.empty()) why.insert(0, "its header also declares " + name + suffix + ", and ");
  }
  return why;
}

std::string why_no_parameter(const std::string& name) {
  if (std::string why = why_no_identifier(name); !why.empty()) return why;
  // The types of the header in which it would stand.
  for (const char* type : {"int32_t", "int64_t", "uint8_t", "size_t"}) {
    if (name == type) return "it is a type of the C library";
  }
  return "";
}

std::string similar_function(const std::string& name) {
  std::string base = no_macro(to_identifier(name));
  if (base.empty()) base = "function";
  for (const std::string& one : {base, "my_" + base}) {
    if (why_no_function(one).empty()) return one;
  }
  return "my_" + base + "_function";
}

std::string CNames::add(const std::string& wanted, const std::string& otherwise) {
  std::string name = to_identifier(wanted);
  if (name.empty()) name = otherwise;
  if (is_digit(name[0])) name = otherwise + "_" + name;
  name = no_macro(name);
  if (!why_no_parameter(name).empty()) name += "_";
  std::string unique = name;
  for (int k = 2; std::find(taken_.begin(), taken_.end(), unique) != taken_.end(); ++k) {
    unique = name + (name.back() == '_' ? "" : "_") + std::to_string(k);
  }
  taken_.push_back(unique);
  return unique;
}

std::string in_c_comment(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 0x80) {
      const std::size_t length = sequence_length(text.substr(at));
      result += length == 0 ? "?" : text.substr(at, length);
      at += std::max<std::size_t>(length, 1);
      continue;
    }
    const char c = std::iscntrl(byte) != 0 ? ' ' : text[at];
    const bool touches = !result.empty() &&
                         ((result.back() == '*' && c == '/') || (result.back() == '/' && c == '*'));
    if (touches) result += ' ';
    result += c;
    ++at;
  }
  return result;
}

}  // namespace kroton
