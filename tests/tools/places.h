// What this build knows of its machine. Only places.cpp is compiled differently for each checkout.
#pragma once
#include <string>

namespace places {

std::string source_dir();  // the root of the project
std::string c_compiler();
std::string cxx_compiler();
std::string lapack_libraries();  // of LAPACK and BLAS, as arguments of the linker

}  // namespace places
