#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <source_location>
#include <string>
#include <vector>

#include <kroton/array.h>
#include <kroton/tensor.h>

namespace kroton {

// Arrays by name in files of the safetensors format: 8 bytes with the length of a header, the
// header in JSON, the elements in little-endian order.
// Source: https://github.com/huggingface/safetensors#format
//
// Every dtype has a name there: BOOL, I8 to I64, U8 to U64, F16, BF16, F32 and F64 are boolean, i8
// to i64, u8 to u64, f16, bf16, f32 and f64.
//
// Functions that write do it beside the file, under its name and ".tmp", bring that to the disk,
// and rename it: whenever the process or the machine stops, the file is the old or the new one. A
// ".tmp" that a process has left behind is used again by the next one. A symbolic link is replaced,
// not followed.

/// Reads all arrays of a safetensors file. Throws IoError, naming the file, the byte offset and the
/// tensor, for a file that is missing or truncated, a header that is not strict JSON in UTF-8 or
/// has other fields than the format's, two tensors of one name, another dtype, more than 8 axes, an
/// extent that does not agree with the number of bytes, bytes that belong to no tensor or to two,
/// and a BOOL other than 0 and 1; nothing is returned then. No more memory is asked for than the
/// file's size accounts for.
[[nodiscard]] std::map<std::string, Array> load_safetensors(const std::filesystem::path& path);

/// Writes arrays to a safetensors file, with texts as its "__metadata__". The same arrays give the
/// same bytes. Throws ValueError, before anything is written, for a name or a text that is not
/// UTF-8, for a tensor named "__metadata__", and for a header of more than 100 million bytes;
/// IoError, naming the file and what the system says, where it cannot be written: the old file is
/// untouched then.
void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Array>& arrays,
                      const std::map<std::string, std::string>& metadata = {});

/// The "__metadata__" of a safetensors file, empty if it has none. Only the header is read. Throws
/// IoError for a header as load_safetensors does.
[[nodiscard]] std::map<std::string, std::string> read_safetensors_metadata(
    const std::filesystem::path& path);

/// Writes the values of shared variables to a safetensors file, under their names: parameters
/// (net.state()), an optimizer's state (adam.state()), random streams (stream.state()). `metadata`
/// has room for what is no variable: the epoch, the place in the data. A variable that is listed
/// twice is written once. Each value is consistent; that they are of the same step is up to the
/// caller, who makes no call that updates them meanwhile. Throws ValueError for two variables of
/// one name, naming the places where both were made, and else as save_safetensors does.
void save_checkpoint(const std::filesystem::path& path, const std::vector<Shared>& state,
                     const std::map<std::string, std::string>& metadata = {},
                     const std::source_location& at = std::source_location::current());

/// What load_checkpoint accepts.
struct LoadOptions {
  /// The tensor's name in the file for variables that are not named as it is.
  std::map<std::string, std::string> names = {};
  /// Matrices of which the file has the transpose, as PyTorch's linear layers have of ours.
  std::set<std::string> transposed = {};
  /// A variable that the file has no tensor for keeps its value.
  bool allow_missing = false;
  /// A tensor that no variable takes is left out.
  bool allow_extra = false;
};

/// Sets shared variables to the values of a safetensors file, by their names, and returns the
/// file's metadata. Dtypes, after the conversions above, and shapes must be those of the variables.
/// Throws one IoError that lists all that does not fit: variables that are not in the file, tensors
/// that no variable takes, other dtypes and shapes; IoError for a damaged file as load_safetensors
/// does; ValueError for two variables of one name, naming the places where both were made, and for
/// an entry of `names` that is no variable's and one of `transposed` that is no matrix's. No
/// variable is set unless all fits.
std::map<std::string, std::string> load_checkpoint(
    const std::filesystem::path& path, const std::vector<Shared>& state,
    const LoadOptions& options = {},
    const std::source_location& at = std::source_location::current());

}  // namespace kroton
