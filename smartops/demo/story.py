async def tell(api, cluster, screen): pass
