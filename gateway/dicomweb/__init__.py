"""Studies fetched from DICOMweb servers (PS3.18): searched by QIDO-RS, streamed to disk by WADO-RS.

Callers name a server; where that is and how discgrade shows itself there is the operator's, so that no caller can make
discgrade call an address.
"""

from gateway.dicomweb.fetch import Dicomweb
from gateway.dicomweb.servers import DicomwebServer, load_servers

__all__ = ["Dicomweb", "DicomwebServer", "load_servers"]
