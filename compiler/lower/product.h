// Matrix products that a library may compute in place of a kernel.
#pragma once
#include "compiler/lower/kernel_context.h"

namespace kroton {

// What the kernel of a product's cluster computes, if that is a loop::Product: both operands lie in
// buffers, and what is done to the product before it is stored is scaling, adding what is in the
// result's place or in a buffer like it, adding one value per column. Null for anything else.
std::shared_ptr<const loop::Product> library_product(KernelContext& context);

// The same product, stored into another buffer.
std::shared_ptr<const loop::Product> with_result(const loop::Product& product,
                                                 const loop::BufferRef& result);

}  // namespace kroton
