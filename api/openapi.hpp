// api/openapi.yaml, compiled in, so that every server can say what it serves.
#pragma once

#include <string_view>

namespace bascule::api {
std::string_view openapi_yaml();
}
