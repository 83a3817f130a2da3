#include "tests/tools/places.h"

namespace places {

std::string source_dir() { return KROTON_SOURCE_DIR; }
std::string c_compiler() { return KROTON_C_COMPILER; }
std::string cxx_compiler() { return KROTON_CXX_COMPILER; }
std::string lapack_libraries() { return KROTON_LAPACK_LIBRARIES; }

}  // namespace places
