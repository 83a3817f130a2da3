#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <kroton/array.h>

namespace kroton {

// NumPy's files. Sources:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (.npy),
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (the ZIP archive that .npz is).
//
// Read are versions 1 to 3, both orders of elements (Fortran's becomes row-major) and of bytes.
// NumPy's bool, int8 to int64, uint8 to uint64, float16, float32 and float64 are boolean, i8 to
// i64, u8 to u64, f16, f32 and f64. NumPy knows no bf16: it is written as the package ml_dtypes
// does it, as two bytes without a meaning (V2), and such are read as bf16; there
// `np.load(file).view(ml_dtypes.bfloat16)` has them. Files are written as those of
// <kroton/checkpoint.h> are: the old one is intact until the new one is complete.

/// Reads a .npy file. Throws IoError, naming the file and the byte offset, for one that is missing,
/// damaged, truncated or longer than its header says, for any other dtype (strings, objects,
/// structures, complex numbers), for more than 8 axes, and for a bool other than 0 and 1.
[[nodiscard]] Array load_npy(const std::filesystem::path& path);

/// Writes a .npy file (version 1, little-endian, row-major). Throws IoError, naming the file and
/// what the system says, where it cannot be written.
void save_npy(const std::filesystem::path& path, const Array& array);

/// Reads all arrays of a .npz file, by their members' names without ".npy"; members may be stored
/// or deflated. Throws IoError, naming the file, the member and the byte offset (in the member's
/// data where the archive is sound), for an archive that is missing, damaged, truncated, encrypted
/// or in several parts, for members that overlap, have one name, another compression, a wrong
/// checksum or length, or are no array, and for arrays as load_npy does; nothing is returned then.
/// Deflated data may unpack to 1032 times its size, and takes that memory.
[[nodiscard]] std::map<std::string, Array> load_npz(const std::filesystem::path& path);

/// Writes a .npz file, deflated if `compress`. The same arrays give the same bytes. Throws
/// ValueError for a name that is empty, not UTF-8 or longer than 65531 bytes, IoError as save_npy
/// does.
void save_npz(const std::filesystem::path& path, const std::map<std::string, Array>& arrays,
              bool compress = false);

}  // namespace kroton
